"""Text that LaTeX shows as it is: labels come from files of anyone, and no command in them may run."""

from __future__ import annotations

import re
import unicodedata

_SPECIAL = {
    **{character: f"\\{character}" for character in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",  # babel makes it active
    **{character: f"{{{character}}}" for character in "[]*"},  # at the start of a row, an option of the row before
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "°": r"\textdegree{}",
    "²": r"$^2$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "\u202f": r"\,",
    "\u2009": r"\,",
    "\xa0": "~",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u0304": "=",
    "\u0307": ".",
    "\u0306": "u",
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)")
_GREEK_COMMANDS = frozenset(
    {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi"}
    | {"pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"}
    | {"Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"}
)
_NUMBER = re.compile(r"(?<![\w.)-])-(?=\.?[0-9])")
_LIGATURE = re.compile("(?<=[-,`'!?])(?=[-,`'])")
_PLAIN = re.compile(r"[A-Za-z0-9 .:;()/+=@,`'!?-]")


def escape(text: object) -> str:
    r"""Return LaTeX that shows the text, with pdfLaTeX as with the engines that know all of Unicode.

    >>> escape("50% of x_1"), escape("-0.5"), escape("café α")
    ('50\\\\% of x\\\\_1', '$-$0.5', "caf\\\\'{e} $\\\\alpha$")
    """
    line = "".join(each if each.isprintable() or each in _SPECIAL else " " for each in str(text))
    line = _NUMBER.sub("−", unicodedata.normalize("NFC", line))
    return "{}".join("".join(map(_character, part)) for part in _LIGATURE.split(line))


def _character(each: str) -> str:
    if each in _SPECIAL:
        return _SPECIAL[each]
    if _PLAIN.fullmatch(each):
        return each
    parts = unicodedata.normalize("NFD", each)
    if len(parts) == 2 and parts[1] in _ACCENTS and parts[0].isascii() and parts[0].isalpha():
        return f"\\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    if found := _GREEK.fullmatch(unicodedata.name(each, "")):
        name = found[2].lower().replace("lamda", "lambda")
        name = name if found[1] == "SMALL" else name.capitalize()
        if name in _GREEK_COMMANDS:
            return f"$\\{name}$"
    # pdfLaTeX stops at a letter that its fonts lack.
    return f"{{\\ifdefined\\Umathchar {each}\\else U+{ord(each):04X}\\fi}}"
