"""Which example networks are corpora, which of them are held out, and how their words read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TRAINING = ("asia", "cancer", "sachs", "child", "insurance", "win95pts")
HELD_OUT = ("earthquake", "survey", "alarm")
"""Networks whose probabilities are never trained on, only their records."""

COMMON = {"True": "yes", "TRUE": "yes", "False": "no", "FALSE": "no", "AVG": "average"}
"""Words of every file that the general rule can't make readable."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is made of one file.

    words: readable forms of its names and values, beside `COMMON` and the general rule. kept: the
    variables that are used, in order, each behind its parents; none stands for all of the file.
    """

    doc: str
    words: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


PLANS: Mapping[str, Plan] = {
    "asia": Plan(
        "patients of a chest clinic (Lauritzen and Spiegelhalter 1988)",
        {
            "asia": "visit_to_asia",
            "tub": "tuberculosis",
            "smoke": "smoker",
            "lung": "lung_cancer",
            "bronc": "bronchitis",
            "either": "tuberculosis_or_cancer",
            "xray": "abnormal_xray",
            "dysp": "dyspnoea",
        },
    ),
    "cancer": Plan("lung cancer, its causes and its signs (Korb and Nicholson 2010)"),
    "earthquake": Plan("a burglar alarm and two neighbours who call (Korb and Nicholson 2010)"),
    "survey": Plan(
        "how people travel to work (Scutari and Denis 2014)",
        {
            **{"A": "age", "S": "sex", "E": "education"},
            **{"O": "occupation", "R": "residence", "T": "travel"},
            **{"M": "male", "F": "female", "high": "high school", "uni": "university"},
            **{"emp": "employee", "self": "self-employed"},
            **{"small": "small city", "big": "big city"},
        },
    ),
    "sachs": Plan("levels of signalling molecules in human T cells (Sachs et al. 2005)"),
    "child": Plan(
        "newborn babies with heart disease (Spiegelhalter and Cowell 1992)",
        {
            "LungParench": "lung_parenchyma",
            "PFC": "persistent foetal circulation",
            "TGA": "transposition of the great arteries",
            "Fallot": "tetralogy of Fallot",
            "PAIVS": "pulmonary atresia",
            "TAPVD": "anomalous pulmonary venous drainage",
            "Lung": "lung disease",
            "Grd_Glass": "ground glass",
            "Asy/Patch": "asymmetric or patchy",
        },
        (
            *("BirthAsphyxia", "Disease", "Sick", "Age"),
            *("LungParench", "LungFlow", "Grunting", "ChestXray"),
        ),
    ),
    "insurance": Plan(
        "drivers who insure a car (Binder et al. 1997)",
        {
            "SocioEcon": "social_class",
            "Prole": "working class",
            "Middle": "middle class",
            "UpperMiddle": "upper middle class",
            "Psychopath": "reckless",
            "SeniorTrain": "senior_training",
            "SubStandard": "substandard",
            "DrivQuality": "driving_quality",
            "DrivHist": "driving_history",
        },
        (
            *("Age", "SocioEcon", "RiskAversion", "GoodStudent"),
            *("SeniorTrain", "DrivingSkill", "DrivQuality", "DrivHist"),
        ),
    ),
    "alarm": Plan(
        "the heart of a patient under anaesthesia (Beinlich et al. 1989)",
        {
            "LVFAILURE": "left_heart_failure",
            "HISTORY": "failure_history",
            "LVEDVOLUME": "ventricle_volume",
            "STROKEVOLUME": "stroke_volume",
            "CVP": "venous_pressure",
            "PCWP": "wedge_pressure",
        },
        (
            *("HYPOVOLEMIA", "LVFAILURE", "HISTORY", "LVEDVOLUME"),
            *("STROKEVOLUME", "CVP", "PCWP"),
        ),
    ),
    "win95pts": Plan(
        "why printing is slow (Microsoft's printer troubleshooter of Windows 95)",
        {
            "PrtSpool": "print_spooling",
            "AppDtGnTm": "data_generation",
            "PrntPrcssTm": "print_processing",
            "PrtMem": "printer_memory",
            "Greater_than_2_Mb": "more than 2 MB",
            "Less_than_2Mb": "less than 2 MB",
            "DeskPrntSpd": "desktop_speed",
            "PrtQueue": "print_queue",
            "NtwrkCnfg": "network_configuration",
            "NtSpd": "network_speed",
            "OK": "good",
        },
        (
            *("PrtSpool", "AppDtGnTm", "PrntPrcssTm", "PrtMem"),
            *("DeskPrntSpd", "PrtQueue", "NtwrkCnfg", "NtSpd"),
        ),
    ),
}
