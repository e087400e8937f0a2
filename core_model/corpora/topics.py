"""The topic of a passage of an address, where its words leave no doubt.

No one wrote the topics of the addresses down. This lexicon labels the passages that it is sure of,
a tenth of them at most; the topic of all others stays unknown. A few names stand for more than
they say: "civil rights" begins with slavery, "government" is the constitution, elections and the
civil service, "faith and thanks" are the opening and closing words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter

LEAD = 2
"""With this lead 378 were right of 384 training passages read to judge it, 16 of each topic."""

LEXICON: Mapping[str, tuple[str, str]] = {
    "trade": (
        """tariff, import, imported, importation, importer, export, exported, exportation,
        exporter, ad valorem, specific duties, protective duties, reciprocity, free trade,
        trade agreement, foreign commerce, foreign trade, carrying trade, discriminating duties,
        tonnage, foreign markets, customs duties, dutiable, free list, protective system,
        home market, domestic manufactures, trade barriers, fair trade, unfair trade,
        commercial treaty, commercial treaties, duties on imports, import duties,
        balance of trade, export trade, foreign competition, trade deficit, manufactures, nafta,
        gatt, world trade, trade expansion, drawback, high duties, free of duty,
        trade negotiations, international trade, trade deal, usmca, commercial relations,
        commercial intercourse, rates of duty, trade policy, new markets, duties, customs,
        manufacturer, tariff board, tariff commission, tariff law""",
        "trade, commerce, commercial, raw materials, duty free, manufacturing",
    ),
    "money and banking": (
        """currency, specie, bank notes, national bank, state banks, bank of the united states,
        gold standard, silver dollars, coin, coined, coinage, treasury notes, legal tender,
        paper money, paper currency, circulating medium, gold and silver, bullion, mint,
        federal reserve, greenbacks, specie payments, gold reserve, savings banks, monetary,
        depositor, bank, money supply, united states notes, credit system, wall street,
        interest rates, mortgage, lender, national banking""",
        "credit, deposits, circulation, gold, silver",
    ),
    "budget and debt": (
        """public debt, national debt, balanced budget, budget, deficit, surplus, receipts,
        sinking fund, expenditure, funded debt, bonds, federal spending, balance in the treasury,
        borrowing, outlays, debt limit, indebtedness, wasteful spending, government spending,
        bonded debt, principal and interest""",
        "budgetary, surpluses, debt, spending, estimates, appropriation, loan, expense, revenue",
    ),
    "taxes": (
        """income tax, income taxes, tax cut, tax relief, taxpayer, internal revenue, excise,
        taxation, tax reduction, tax rate, tax reform, tax code, tax credit, inheritance tax,
        direct tax, direct taxes, internal taxes, tax, taxes, taxed, tax laws, estate tax,
        surtax, death tax, marriage penalty, tax increase, tax system, irs, corporate tax,
        tax burden, tax bill, tax free, tax incentives, property tax, tax structure,
        excess profits, distilled spirits, exempt from taxation, tax exempt, profits tax,
        tax revenue, tax policy, tax break""",
        "loophole, exemption, collectors",
    ),
    "economy": (
        """inflation, recession, economic growth, productivity, small business, small businesses,
        trusts, antitrust, monopoly, economic recovery, price stability, stockholder,
        overcapitalization, unemployment rate, business confidence, economic stability,
        gross national product, national income, anti trust law, corporation, private enterprise,
        free enterprise, economic expansion, price controls, purchasing power, cost of living,
        bureau of corporations, combinations, depression, prices, competition, profits,
        capitalist, entrepreneur, industrial production, rising prices, price increases,
        full employment""",
        """inflationary, monopolies, monopolistic, investment, consumer, private sector,
        prosperity, industry, industries, economic, economy""",
    ),
    "labor and wages": (
        """labor union, collective bargaining, strike, workmen, wage earner, workingmen,
        workingman, laborer, minimum wage, trade union, employer, eight hour, child labor,
        unemployed, unemployment insurance, job training, working men, wageworker, wage worker,
        hours of work, labor disputes, department of labor, hours of labor, organized labor,
        taft hartley, working conditions, employment service, workmen s compensation,
        unemployment compensation, working people, lockouts, labor management, unemployment,
        laboring men, union members, labor relations, miners, labor law, secretary of labor,
        railway employees, skilled workers, unemployment benefits, industrial disputes,
        wage increases, capital and labor, bureau of labor, worker, laboring, employment,
        overtime""",
        "labor, job, mediation, wage, employee",
    ),
    "agriculture": (
        """agriculture, agriculturist, farm, farmer, farming, crop, wheat, cotton, corn,
        livestock, farm income, soil conservation, rancher, farm products, acreage,
        rural electrification, seeds, harvest, husbandry, husbandman, rural credit, farm prices,
        price supports, grain, drought, fertilizer, ethanol, secretary of agriculture,
        department of agriculture""",
        "agricultural, cattle, sheep, planters, soil, rural, food, parity, dairy",
    ),
    "transportation": (
        """railroad, railway, canal, road, highway, harbor, interstate commerce commission,
        steamboat, rivers and harbors, internal improvements, transportation, waterway,
        common carriers, shipper, freight, rebate, river and harbor, bridges, airport, aviation,
        mass transit, trains, interstate highway, transcontinental, isthmian canal, panama canal,
        airline, cumberland road, interoceanic canal, ship canal, nicaragua canal, light houses,
        merchant marine, steamship lines, railroad companies, pacific railroad, navigable,
        canal zone, river improvement, commercial aviation, breakwater, isthmus, locks,
        infrastructure, interstate commerce""",
        "passenger, navigation, air mail, steamer, steamship",
    ),
    "mail": (
        """postmaster general, post office, postal, postage, mail, mail routes, post routes,
        postal service, post office department, post roads, postmasters, free delivery,
        mail matter, postal savings, parcel post, second class matter, postal union,
        mail service, rural free delivery, ocean mail, money order, letter postage,
        franking privilege""",
        "telegraph, telegraphic, cable, newspaper, letters",
    ),
    "foreign relations": (
        """treaty, minister plenipotentiary, envoy, arbitration, diplomatic, charge d affaires,
        boundary, ambassador, legation, consul, consular, plenipotentiaries, joint commission,
        indemnity, protocol, friendly relations, good offices, diplomatic relations,
        foreign powers, neutrality, united nations, foreign policy, foreign affairs,
        sublime porte, foreign aid, marshall plan, nato, north atlantic, inter american,
        alliance for progress, peace corps, extradition, claims commission, monroe doctrine,
        foreign relations, mixed commission, ratification, amity, minister resident,
        foreign assistance, western hemisphere, alliance, cordial relations""",
        """arbitrator, convention, negotiation, treaties, great britain, british, france, french,
        spain, spanish, mexico, mexican, russia, russian, brazil, chile, chilean, peru, japan,
        japanese, china, chinese, venezuela, colombia, king, emperor, majesty, german, germany,
        italy, italian, cuba, cuban, portugal, portuguese, turkey, turkish, nicaragua, claims,
        commissioners, foreign, minister, ratified, nations, allies, secretary of state, europe,
        european, africa, african, asia, latin america, middle east, israel""",
    ),
    "war and peace": (
        """enemy, invasion, battle, victory, hostilities, aggression, terrorist, taliban,
        al qaida, iraq, saddam hussein, afghanistan, vietnam, viet nam, korea, communist, soviet,
        nuclear weapons, armistice, nazi, hitler, axis, insurgent, insurrection, surrender,
        prisoners of war, casualties, conquest, war effort, missiles, arms control, disarmament,
        armed conflict, military aid, cold war, bombing, weapons of mass destruction, isis, isil,
        cease fire, munitions, peace talks, nuclear war, war production, american troops,
        ukraine, putin, battlefield, treaty of peace, bomber, nuclear arms, war,
        military operations, military power, civil war, lasting peace, world peace,
        permanent peace""",
        """aggressor, terrorism, iraqi, afghan, korean, communism, killed, wounded, freedom,
        enemies, victories, tyranny, captured, retreat, siege, defense, military, iran, combat,
        rebellion""",
    ),
    "army": (
        """army, militia, regiment, infantry, cavalry, artillery, recruits, enlisted men,
        military academy, west point, regular army, volunteers, fortifications, garrisons,
        national guard, secretary of war, war department, general staff, ordnance, arsenal,
        armories, armory, cadets, seacoast, coast defenses, desertion, military posts, barracks,
        major general, brigadier, soldiers, enlistment, military establishment, officers and men,
        forts, selective service, volunteer army, military training, corps of engineers, rifles,
        recruiting, military pay, standing army, court martial, courts martial,
        military education, armies, department of war, troops, armed forces""",
        "draft, paymaster, guns, officers",
    ),
    "navy": (
        """navy, naval, squadron, frigate, ships of war, vessels of war, battleship,
        battle ships, navy yard, cruiser, naval academy, midshipmen, marine corps, torpedo boat,
        warship, fleet, seamen, dry dock, secretary of the navy, gunboat, armor, monitors,
        annapolis, armored cruisers, submarine, admiral, sloops, shipbuilding, ironclad,
        war vessels, armored, shipyard""",
        "sailors, vessel, sea, marines, ship",
    ),
    "land and territories": (
        """public domain, public land, homestead, settlers, land office, acre, territorial,
        territories, preemption, land laws, timber culture, surveyed, irrigation, reclamation,
        arid, alaska, porto rico, puerto rico, philippine, hawaii, filipino, guam,
        territorial government, statehood, legislative assembly, oregon, utah, desert land,
        swamp lands, land grants, lands, territory""",
        """irrigated, alaskan, porto rican, hawaiian, inhabitants, louisiana, california,
        new mexico, surveys, minnesota, island, archipelago""",
    ),
    "native nations": (
        """indian, tribe, tribal, cherokee, choctaw, creeks, seminole, sioux, reservation,
        allotment, severalty, savages, indian affairs, indian territory, indian agents,
        aborigines, native americans, american indians, annuities, indian bureau, apaches, utes,
        chickasaw, hunting grounds, indian title, indian schools, chippewa, indian wars,
        creek nation, five civilized tribes, chiefs""",
        "aboriginal, native",
    ),
    "civil rights": (
        """slave, slavery, slave trade, emancipation, abolition, slaveholding, african slave,
        bondage, freedmen, fugitive slave, civil rights, lynching, negro, negroes, suffrage,
        right to vote, voting rights, racial, equal rights, equal opportunity, segregation,
        desegregation, colored, equal pay, bigotry, equal employment opportunity,
        fifteenth amendment, martin luther king, gay, disabilities, race prejudice,
        disfranchised, racism, enfranchisement, servitude, hate crimes, african american,
        colored race, white race, minorities, equal chance, equal work, discrimination, race,
        ballot""",
        """emancipated, segregated, equality, prejudice, minority, voting, human rights, women,
        servile, colonization""",
    ),
    "courts and crime": (
        """supreme court, circuit court, district court, judicial, crime, criminal,
        law enforcement, police, prison, drug, marshals, jury, injunction, attorney general,
        department of justice, prosecution, juror, court of claims, convicted, convicts,
        penitentiary, drug abuse, narcotics, death penalty, judge, gangs, handgun, violent crime,
        bankruptcy, habeas corpus, parole, lawlessness, appeals, murder, juries, grand jury,
        justices, perjury, illegal drugs, organized crime, racketeering, criminal code,
        drug dealers, drug traffickers, court of appeals, indictment, federal courts,
        police officers, cops, assault weapons, sentencing, litigants, punishment, prosecutor""",
        """judiciary, murderer, murdered, court, trial, prisoners, statutes, law and order,
        violence, offender, prohibition, eighteenth amendment""",
    ),
    "schools and science": (
        """school, schoolhouse, education, teacher, student, college, university, universities,
        classroom, literacy, math, mathematics, high school, head start, scholarships,
        pell grants, national university, public schools, science, scientific, scientist,
        research, laboratory, laboratories, astronaut, observatory, seminaries, smithsonian,
        space exploration, astronomical, preschool, curriculum, internet, tuition, satellite,
        space station, nasa, moon, illiteracy, technology, library, libraries, student loans,
        common schools, exploring expedition, space program""",
        """technologies, educational, learning, space, reading, training, arts, knowledge,
        children""",
    ),
    "health": (
        """health care, health insurance, medicare, hospital, doctor, disease, yellow fever,
        quarantine, medical care, medicaid, public health, cholera, epidemic, nurse, medical,
        medicine, cancer, mental health, prescription drug, sanitary, tuberculosis, health,
        infectious, infection, drug companies, pure food, vaccine, polio, opioid,
        marine hospital, heart disease, national board of health, contagious, alzheimer s,
        pandemic, covid, patient, insurance companies, hiv""",
        "pestilence, physicians, sick",
    ),
    "welfare": (
        """social security, pension, pensioner, pension roll, poverty, old age, disabled, widows,
        orphans, dependents, public housing, veteran, retirement, retiree, elderly,
        older americans, food stamps, housing, public assistance, slum, welfare reform, homeless,
        pension bureau, commissioner of pensions, invalid, rehabilitation, pension laws,
        child care, affordable housing, urban renewal, senior citizens, benefit payments,
        homeowner, homeownership, slum clearance, antipoverty, welfare system, welfare programs,
        welfare recipients, on welfare, the poor, needy, low income, aged, welfare rolls""",
        "families, welfare, relief, cities, urban, foster, insurance",
    ),
    "energy and nature": (
        """energy, oil, petroleum, natural gas, coal, electricity, forest, national parks,
        environment, pollution, clean air, climate change, natural resources, water power,
        wildlife, solar, nuclear power, power plants, flood control, clean water, reforestation,
        atomic energy, synthetic fuels, hydroelectric, wilderness, clean energy, gasoline,
        foreign oil, oil prices, toxic, acid rain, global warming, emissions, fuel,
        electric power, water resources, strategic petroleum reserve, fossil fuels, drilling,
        endangered, renewable, timber, watershed, conservation, stream""",
        """forestry, environmental, polluter, flood, fisheries, fur seals, resources, climate,
        fishery, species""",
    ),
    "immigration": (
        """immigration, immigrant, naturalization, alien, border, chinese laborers, deportation,
        illegal immigration, emigration, refugee, illegal aliens, border patrol, naturalized,
        steerage, undocumented, expatriation, passport, border security, sanctuary,
        illegal immigrants, coolie, migration, guest worker, migrant, immigration laws,
        immigration system, visa, smuggler, naturalized citizens, citizenship, foreigner,
        newcomer, chinese immigration, chinese labor, legal status, ellis island, cartel,
        ice officers, dreamers, pathway to citizenship, southern border, native born""",
        "naturalizing, deported, smuggling, frontier, exclusion, emigrant",
    ),
    "government": (
        """civil service, merit system, appointments, reorganization, executive departments,
        executive branch, civil service commission, competitive examination, patronage,
        classified service, campaign finance, lobbyist, election, federal employees,
        line item veto, amendment, veto, legislatures, reserved powers, secession,
        general government, ethics, elector, electoral, bureaucracy, presidential election,
        spoils, state governments, special interests, paperwork, federal system, revenue sharing,
        constitutional amendment, congressional elections, appointees, classified civil service,
        federal constitution, appointing power, bureaus, constitution""",
        "lobbying, constitutional, presidential, political parties, vice president",
    ),
    "faith and thanks": (
        """almighty god, divine, providence, god bless, almighty, gratitude, thankful, god,
        prayer, pray, supreme being, heaven, thanksgiving, god bless america, supplication,
        devout, devoutly, grateful, beneficent, fervent, fervently, giver of all good,
        ruler of the universe, fellow citizens of the senate, congratulate, congratulation,
        mr speaker, mr president, distinguished guests, fellow americans, members of congress,
        members of the congress, bountiful, thank you, blessing""",
        "beneficence, thank, applause, happiness, laughter, creator, bless, blessed",
    ),
}
"""For each topic its strong terms, which speak for it, and its weak terms, which only speak against
all others. A term is one or more words, an apostrophe parts two; a plural in s is understood."""

TOPICS: tuple[str, ...] = tuple(LEXICON)


def listed(terms: str) -> list[str]:
    """The terms of an entry of the lexicon."""
    return [" ".join(term.split()) for term in terms.split(",")]


def _pattern(terms: Iterable[str]) -> re.Pattern[str]:
    # Longest first, so that "income tax" is one term; by first letter, which is five times faster.
    ordered = sorted(terms, key=lambda term: (term[0], -len(term)))
    letters = [
        f"{letter}(?:{'|'.join(term[1:] for term in same)})"
        for letter, same in groupby(ordered, key=itemgetter(0))
    ]
    return re.compile(rf"\b(?:{'|'.join(letters)})s?\b")


_STRONG = {term: topic for topic, (strong, _) in LEXICON.items() for term in listed(strong)}
_WEAK = {term: topic for topic, (_, weak) in LEXICON.items() for term in listed(weak)}
_TOPIC = _STRONG | _WEAK
_PATTERN = _pattern(_TOPIC)


def _terms(text: str) -> set[str]:
    """The distinct terms in a text; case and punctuation don't matter."""
    plain = " ".join(re.findall(r"[^\W_]+", text.casefold()))
    found = {match[0] for match in _PATTERN.finditer(plain)}
    return {term if term in _TOPIC else term.removesuffix("s") for term in found}


def seed(text: str) -> str | None:
    """The topic of a passage, or None where the lexicon is not sure.

    It is sure when the text has at least LEAD more distinct strong terms of one topic than terms,
    strong or weak, of all other topics together.
    """
    terms = _terms(text)
    strong = Counter(_STRONG[term] for term in terms if term in _STRONG)
    if not strong:
        return None
    topic, count = strong.most_common(1)[0]
    others = sum(_TOPIC[term] != topic for term in terms)
    return topic if count - others >= LEAD else None
