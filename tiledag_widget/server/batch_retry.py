"""Whether and when a failed attempt is tried again: a retry strategy, checked once, asked after each attempt.

Pure: time and outcomes come in as values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..errors import InvalidBody
from ..wire.models import RetryPolicy, RetryStrategy
from . import batch_expression
from .batch_expression import LastRetry

__all__ = ["Attempted", "Rule", "rule_of", "seconds_of"]

UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
QUICK_RETRIES: Final = 10
SLOW_S: Final = 1.0
"""Without a back-off the first few retries come at once, later ones wait this long: who retries until it succeeds
must not fill the disk with attempts."""
LONGEST_S: Final = 1e9

FAILED: Final = "Failed"
"""The function failed."""
ERROR: Final = "Error"
"""The system failed: the worker died, or the server did."""

_TRANSIENT: Final = re.compile(
    r"(^|\.)(Connection\w*Error|BrokenPipeError|ConnectTimeout|ReadTimeout|Timeout|TimeoutError|timeout"
    r"|InterruptedError|BlockingIOError|IncompleteRead|ProtocolError|RemoteDisconnected|gaierror|herror"
    r"|ServiceUnavailable|TemporaryFailure)$"
)


@dataclass(frozen=True, slots=True)
class Attempted:
    """How an attempt ended badly.

    Attributes:
        end: `FAILED` or `ERROR`.
        by_limit: Whether it was ended because it took too long or too much.
        retries: How many retries there have been before.
        since_first: Seconds since the first attempt of these began.
    """

    end: str
    message: str
    error_type: str | None
    by_limit: bool
    exit_code: int | None
    duration: float
    retries: int
    since_first: float

    @property
    def is_transient(self) -> bool:
        """Whether it may well go better next time by itself."""
        return self.end == ERROR or (not self.by_limit and bool(_TRANSIENT.search(self.error_type or "")))


@dataclass(frozen=True, slots=True)
class Rule:
    """A strategy that was checked."""

    limit: int | None
    policy: RetryPolicy
    duration: float
    factor: float
    longest: float | None
    has_backoff: bool
    condition: batch_expression.Condition | None

    def wait_after(self, tried: Attempted) -> float | None:
        """Seconds to wait before the next attempt; None if there shall be none."""
        if self.limit is not None and tried.retries >= self.limit:
            return None
        if not self._covers(tried):
            return None
        wait = self._wait(tried.retries)
        if self.longest is not None and tried.since_first + wait > self.longest:
            return None
        return wait

    def _covers(self, tried: Attempted) -> bool:
        if self.policy is RetryPolicy.ON_FAILURE and tried.end != FAILED:
            return False
        if self.policy is RetryPolicy.ON_ERROR and tried.end != ERROR:
            return False
        if self.policy is RetryPolicy.ON_TRANSIENT_ERROR and not tried.is_transient:
            return False
        if self.condition is None:
            return True
        code = "-1" if tried.exit_code is None else str(tried.exit_code)
        try:
            return self.condition(LastRetry(code, tried.end, tried.duration, tried.message))
        except (ValueError, OverflowError):  # asInt() of a text that is no number
            return False

    def _wait(self, retries: int) -> float:
        if not self.has_backoff:
            return 0.0 if retries < QUICK_RETRIES else SLOW_S
        try:
            return min(self.duration * self.factor**retries, LONGEST_S)
        except OverflowError:
            return LONGEST_S


def rule_of(strategy: RetryStrategy | None, where: str) -> Rule | None:
    """The strategy as a rule; None where there is none.

    Raises:
        InvalidBody: Something in it does not fit; the message begins with its path.
    """
    if strategy is None:
        return None
    if strategy.limit is not None and strategy.limit < 0:
        raise InvalidBody(f"{where}.limit is {strategy.limit}; expected 0 or more retries", f"{where}.limit")
    condition = None
    if strategy.expression:
        try:
            condition = batch_expression.parse(strategy.expression)
        except InvalidBody as error:
            raise InvalidBody(f"{where}.{error}", f"{where}.expression") from None
    default = RetryPolicy.ALWAYS if condition is not None else RetryPolicy.ON_FAILURE
    backoff = strategy.backoff
    duration = seconds_of(backoff.duration if backoff else None, f"{where}.backoff.duration")
    longest = seconds_of(backoff.max_duration if backoff else None, f"{where}.backoff.maxDuration")
    factor = backoff.factor if backoff and backoff.factor is not None else 1.0
    if not 0 <= factor < LONGEST_S:
        raise InvalidBody(f"{where}.backoff.factor is {factor}; expected 0 or more", f"{where}.backoff.factor")
    has_backoff = bool(duration)
    policy = strategy.retry_policy or default
    return Rule(strategy.limit, policy, duration or 0.0, factor or 1.0, longest or None, has_backoff, condition)


def seconds_of(text: str | None, where: str) -> float | None:
    """A duration as ``"30"``, ``"1.5s"``, ``"2m"``, ``"1h30m"`` or ``"1d"``, in seconds."""
    if text is None or not text.strip():
        return None
    pieces = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*", text)
    if pieces is not None:
        seconds = float(pieces[1])
    elif re.fullmatch(r"\s*(\d+(\.\d+)?(ms|s|m|h|d))+\s*", text):
        seconds = sum(float(one[0]) * UNITS[one[2]] for one in re.findall(r"(\d+(\.\d+)?)(ms|s|m|h|d)", text))
    else:
        raise InvalidBody(f"{where} is {text[:60]!r}; expected seconds, or a text such as '30s', '2m' or '1h'", where)
    return min(seconds, LONGEST_S)
