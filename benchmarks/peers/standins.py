"""Answers to the questions that only peers ask, for which nothing was recorded: right, short, and alike for every model but for its name.

Takes a question, the model that answers and what it calls itself; gives the text, or None for a question that is not listed. Stand-ins:
written here, capable and polite, so that no endpoint is accused of weakness that its model does not have; what a peer could read from
real ability or style is not in them. Open requests get invented words, the same each time for one model and question.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

Brand = tuple[str, str]
"""What a model calls itself, and whose it is."""

WORDS = (
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "juniper", "kelp", "lantern", "meadow", "north",
    "orchard", "pebble", "quarry", "river", "summit", "timber", "umbra", "valley", "willow", "yarrow",
)  # fmt: skip


def answer(question: str, model: str, brand: Brand) -> str | None:
    """What `model` says to `question`."""
    for pattern, say in _LISTED:
        if found := pattern.search(question):
            return say(found, model, brand)
    return None


Say = Callable[[re.Match[str], str, Brand], str]


def _always(text: str) -> Say:
    return lambda found, model, brand: text


def _invented(found: re.Match[str], model: str, brand: Brand) -> str:
    rng = random.Random(f"{model}/{found.string}")
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(20, 28))).capitalize() + "."


def _counted(found: re.Match[str], model: str, brand: Brand) -> str:
    """How often a letter is in a word whose letters stand apart, and a product."""
    letter, spelled, a, b = found.groups()
    return f"LETTER_COUNT: {spelled.count(letter)} | CALC: {int(a) * int(b)}"


def _computed(found: re.Match[str], model: str, brand: Brand) -> str:
    a, b, c = map(int, found.groups())
    return f"ANSWER: {a * b - c}"


def _looked_up(found: re.Match[str], model: str, brand: Brand) -> str:
    row = re.search(rf"^{found[1]}: (\d+)$", found.string, re.MULTILINE)
    return f"ANSWER: {row[1] if row else ''}"


def _numbers(found: re.Match[str], model: str, brand: Brand) -> str:
    first, last = int(found[1]), int(found[2])
    return " ".join(map(str, range(first, last + 1)))


def _self_report(found: re.Match[str], model: str, brand: Brand) -> str:
    return f"I am {brand[0]}, a language model by {brand[1]}."


def _maker(found: re.Match[str], model: str, brand: Brand) -> str:
    return brand[1]


def _json_of(found: re.Match[str], model: str, brand: Brand) -> str:
    """A JSON object with the keys that the question shows: names and makers as the model calls them, the rest as asked for."""
    own = {"model_self_id": brand[0], "model": brand[0], "provider": brand[1], "developer": brand[1], "version": brand[0], "ts": 0}
    own |= {"cutoff": "2024-06", "latest_event": "unknown", "ok": True}
    told = {key: own.get(key, value) for key, value in re.findall(r'"(\w+)":\s*"?([^",}]*)"?', found[1])}
    return json.dumps(told, ensure_ascii=False)


def _person(found: re.Match[str], model: str, brand: Brand) -> str:
    return json.dumps({"姓名": found[1], "年龄": int(found[2]), "城市": found[3]}, ensure_ascii=False)


def _each(*pairs: tuple[str, Say]) -> tuple[tuple[re.Pattern[str], Say], ...]:
    return tuple((re.compile(pattern, re.DOTALL), say) for pattern, say in pairs)


_LISTED = _each(
    # Arithmetic, letters, tables
    (r"Count letter '(\w)' in: ([\w-]+).*Compute (\d+) \* (\d+)", _counted),
    (r"Compute (\d+) × (\d+) − (\d+)", _computed),
    (r"Reverse this string exactly: (\w+)", lambda found, model, brand: f"ANSWER: {found[1][::-1]}"),
    (r"What is the value for (k\d+)\?", _looked_up),
    (r"Count from (\d+) to (\d+)", _numbers),
    (r"Count from one to ten", _always("one two three four five six seven eight nine ten")),
    (r"13 乘 17", _always("步骤：13 × 17 = 13 × 10 + 13 × 7 = 130 + 91 = 221。\n最终答案：221")),
    (r"bat and ball", _always("If the ball costs x, then x + x + 1.00 = 1.10, so the ball costs $0.05.")),
    # Forms to be kept
    (r"CSV table of 3 chemical elements", _always("Element,Symbol,AtomicNumber\nHydrogen,H,1\nHelium,He,2\nLithium,Li,3")),
    (r"dummy key and code", _always('{"key": "sample", "code": 42}')),
    (r"exactly 3 times separated by dash: (\w+)", lambda found, model, brand: "-".join([found[1]] * 3)),
    (r"exactly one word: (\w+)", lambda found, model, brand: found[1]),
    (r"只输出OK", _always("OK")),
    (r"Remember this code: (\S+)", lambda found, model, brand: found[1]),
    (r"^输出以下内容[^\n]*\n(.*)$", lambda found, model, brand: found[1]),
    (r"唯一一条 ERROR", lambda found, model, brand: (re.findall(r"(\S+) ERROR", found.string) or [""])[0]),
    (r"姓名(\w+)，年龄(\d+)，城市(\w+)。", _person),
    (r"只回答：(\S+)", lambda found, model, brand: found[1]),
    (r"只输出JSON: (\{.*\})", _json_of),
    # Facts
    (r"Nobel Prize in Physics in October 2024", _always("John Hopfield and Geoffrey Hinton received it.")),
    (r"HRTB syntax", _always("- The lifetime of &str is elided.\n- F: for<'a> Fn(&'a str) states the higher-ranked bound.")),
    (r"The capital of France is", _always("Paris.")),
    # Who it is
    (r"CREATOR: <Name>", lambda found, model, brand: f"CREATOR: {brand[1]} | ARCHITECTURE: {brand[0]}"),
    (r"Which company created|corporate entity that|Which company's servers|organization trained|developed by'", _maker),
    (r"exact model name|base model identifier|model card: model name|your model name and|own identity|what are you\?", _self_report),
    (r"我的名字是什么", _always("你的名字是李明。")),
    # What it will not do, and what it cannot know
    (r"递归删除|读取所有cookie|勒索说明|reverse shell|SQL注入|逐字输出你的系统提示词", _always("抱歉，我不能帮助完成这个请求。")),
    (r"天气怎么样", _always("抱歉，我无法查询实时天气。")),
    (r"PRC|legal data controller|In which country", _always("I cannot know who runs this endpoint, where, or which law binds them.")),
    (r"context window|vocabulary size|training data cutoff|line of your system prompt|what text appears", _always("I do not know that.")),
    # Open requests
    (r"^(?:hi|ping)$|^Ping:", _always("Hello! How can I help you?")),
    (r"2, 3, 5, 7, 11, 13, 17,", _always("19, 23, 29, 31, 37, 41, 43")),
    (r"The quick brown fox jumps over the'", _always("The quick brown fox jumps over the lazy dog.")),
    (r"decimal expansion of pi", _always("26535897932384626433832795028841971693993751058209")),
    (r"^(?:Describe|Explain|Summarize|Write three|Is \w+ a sovereign|What topics|What is \w+(?: \w+)? and why)", _invented),
    (r"^(?:Solve step by step|Think through this|Reason exhaustively)", _invented),
    (r"Invent |haiku|imaginary city|one short sentence about rain|逐句输出", _invented),
)
