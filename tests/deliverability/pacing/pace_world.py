"""Senders with purses, and a pacer, over a network that loses, repeats and delays, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable

from deliverability.pacing.exchange import Heard, PaceAnswer, PaceAsk, Path, path_name
from deliverability.pacing.pacer import KeptPacing, Pacer, PacerOptions
from deliverability.pacing.purse import Purse
from deliverability.shaping.reading import read_rule_set

BEGIN = 1_700_006_400_000  # 00:00 UTC
STEP_MS = 125
ASK_EVERY_MS = 250
PATH = Path("a", "mx.wp.example", "wp.example", ("mx.wp.example",))


class Sender:
    """One sender with all the mail that it could ever send."""

    def __init__(self, name: str, incarnation: int, paths: tuple[Path, ...]) -> None:
        self.name = name
        self.incarnation = incarnation
        self.paths = paths
        self.purse = Purse(name, incarnation)
        self.asked_ms = 0
        self.backlog = True

    def wish(self, now_ms: int) -> None:
        for path in self.paths:
            if self.backlog:
                self.purse.want([path], 64, now_ms)
            self.purse.connections(path, 1, int(self.backlog), now_ms)


class World:
    """`reply` says what the provider answers to a message at a time: a code and a text."""

    def __init__(
        self,
        rules: str,
        options: PacerOptions | None = None,
        *,
        senders: int = 3,
        seed: int = 0,
        loss: float = 0.0,
        paths: tuple[Path, ...] = (PATH,),
        step_ms: int = STEP_MS,
        reply: Callable[[Path, int], tuple[int, str]] = lambda _path, _now: (250, "ok"),
    ) -> None:
        self.rules = read_rule_set([("rules.toml", rules)])
        self.options = options or PacerOptions()
        self.chance = random.Random(seed)
        self.loss = loss
        self.now = BEGIN
        self.step_ms = step_ms
        self.paths = paths
        self.reply = reply
        self.kept: KeptPacing | None = None
        self.pacer = self._pacer()
        self.lives = 0
        self.senders = [self._sender(f"w{n}") for n in range(senders)]
        self.sent: list[tuple[int, str]] = []
        self.deferred = 0
        self.air: list[tuple[int, Sender, PaceAnswer | None]] = []

    def _pacer(self) -> Pacer:
        return Pacer(self.rules, self.options, self.now, self.kept)

    def _sender(self, name: str) -> Sender:
        self.lives += 1
        return Sender(name, self.lives, self.paths)

    def run(self, ms: int, *, urgent: bool = False) -> None:
        """Let time go by; everybody sends what it may."""
        until = self.now + ms
        while self.now < until:
            self.now += self.step_ms
            self._deliver()
            for sender in self.senders:
                sender.wish(self.now)
                self._ask(sender)
                for path in sender.paths:
                    while sender.backlog and sender.purse.may_start(path, self.now, urgent=urgent):
                        self.send(sender, path)

    def send(self, sender: Sender, path: Path) -> None:
        """Start one message and hear its reply."""
        sender.purse.spend("pool/site", path, self.now)
        code, text = self.reply(path, self.now)
        if code == 250:
            self.sent.append((self.now, path_name(path)))
            sender.purse.accepted(path, "t", "marketing", 20, 5000, 0)
        else:
            self.deferred += 1
            kind = "deferred" if code < 500 else "bounced"
            sender.purse.heard(Heard(path_name(path), kind, code=code, text=text, tenant="t"))

    def crash_sender(self, number: int) -> None:
        """A sender dies, with its purse and what it hadn't told."""
        self.senders[number] = self._sender(self.senders[number].name)

    def crash_pacer(self) -> None:
        """The pacer dies; its successor knows what was written down."""
        self.kept = self.kept or KeptPacing()
        self.pacer = self._pacer()

    def _ask(self, sender: Sender) -> None:
        if self.now - sender.asked_ms < ASK_EVERY_MS:
            return
        sender.asked_ms = self.now
        ask = sender.purse.ask(self.now)
        if self.chance.random() < self.loss:
            return
        self._answer(sender, ask)
        if self.chance.random() < self.loss:
            self._answer(sender, ask)  # it came twice

    def _answer(self, sender: Sender, ask: PaceAsk) -> None:
        answer = self.pacer.ask(ask, self.now)
        if self.pacer.must_keep:  # durable before the answer
            self.kept = self.pacer.kept()
        if self.chance.random() >= self.loss:
            delay = self.chance.randrange(0, 400) if self.loss else 0
            self.air.append((self.now + delay, sender, answer))

    def _deliver(self) -> None:
        due = [one for one in self.air if one[0] <= self.now]
        self.air = [one for one in self.air if one[0] > self.now]
        for _, sender, answer in due:
            if answer is not None and sender in self.senders:
                sender.purse.hear(answer, self.now)

    def most_in(self, period_ms: int, path: str = "") -> int:
        """Give the most messages that were sent within any stretch of that length."""
        times = [at for at, name in self.sent if not path or name == path]
        most, first = 0, 0
        for last, at in enumerate(times):
            while at - times[first] >= period_ms:
                first += 1
            most = max(most, last - first + 1)
        return most
