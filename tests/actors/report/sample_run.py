"""An invented run with every part of a report in it, whose numbers add up."""

from __future__ import annotations

from actors.report.run import (
    Balance,
    FunnelStep,
    Histogram,
    InputSummary,
    ProviderResult,
    RunReport,
    SampleMail,
    ScenarioFunnel,
    SlowMessage,
    TimelinePoint,
)

DAY_MS = 86_400_000
FIRST_MS = 1_767_225_600_000  # 2026-01-01

MAIL = (
    "<!doctype html><html><head><style>body{font-family:sans-serif;background:#f3efe8}"
    "@media(prefers-color-scheme:dark){body{background:#222;color:#eee}}</style></head>"
    '<body><h1>Welcome, Zoë</h1><p>Good to have you here. "Quotes" &amp; <b>bold</b>.</p>'
    '<script>document.body.innerHTML = "script ran"</script>'
    '<img src="https://tracker.example/pixel.gif" alt="pixel"></body></html>'
)


def sample_run() -> RunReport:
    """Make the run."""
    return RunReport(
        title="Replay of cdnow.csv.gz",
        started_ms=FIRST_MS + 200 * DAY_MS,
        wall_s=94.2,
        mode="twin",
        log_end_ms=FIRST_MS + 270 * DAY_MS,
        input=InputSummary(
            name="demo.ndjson",
            digest="5f" * 32,
            rows=31_204,
            contacts=2_000,
            first_ms=FIRST_MS,
            last_ms=FIRST_MS + 180 * DAY_MS,
            events={"order.placed": 3_510, "cart.updated": 9_011, "product.viewed": 18_683},
        ),
        balance=Balance(
            accepted=9_800,
            delivered=9_642,
            bounced=61,
            expired=3,
            cancelled=12,
            skipped={"no_consent": 40, "suppressed": 42},
        ),
        timeline=[_point(day) for day in range(0, 271, 3)],
        providers=[
            ProviderResult(
                "gmail.test",
                4_480,
                5_010,
                4_440,
                530,
                30,
                10,
                0,
                {"rate": 500, "busy": 30},
                3.4,
                41,
            ),
            ProviderResult(
                "microsoft.test", 2_420, 2_630, 2_402, 210, 18, 0, 0, {"rate": 210}, 4.1, 60
            ),
            ProviderResult(
                "wp.test", 1_400, 1_490, 1_394, 90, 6, 0, 0, {"mailbox_full": 90}, 2.9, 22
            ),
            ProviderResult(
                "grey.test", 980, 1_940, 971, 964, 5, 0, 0, {"greylisted": 964}, 3.0, 25
            ),
            ProviderResult("flaky.test", 440, 770, 435, 103, 2, 229, 1, {"busy": 103}, 12.5, 940),
        ],
        attempts={1: 7_983, 2: 1_400, 3: 250, 4: 58, 5: 15},
        funnels=[
            ScenarioFunnel(
                "onboarding",
                "v1 3f9a",
                2_000,
                1_990,
                10,
                [
                    FunnelStep("welcome-1", "send", 2_000, 1_998, 1_988),
                    FunnelStep("a-week", "wait", 2_000),
                    FunnelStep("bought-again", "if", 1_990),
                    FunnelStep("welcome-2", "send", 1_604, 1_600, 1_591),
                    FunnelStep("done", "end", 1_990),
                ],
            ),
            ScenarioFunnel(
                "abandoned-cart",
                "v1 88c1",
                6_420,
                6_420,
                0,
                [
                    FunnelStep("order-or-hour", "wait_for", 6_420),
                    FunnelStep("still-there", "send", 4_493, 4_480, 4_471),
                ],
            ),
        ],
        accept_latency=Histogram(
            "ms",
            [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
            [0, 421, 5_303, 2_704, 812, 301, 71, 20, 8, 2, 0],
            4.1,
            61.0,
            911.0,
        ),
        due_delay=Histogram(
            "s",
            [1, 10, 60, 300, 900, 3600, 14_400, 86_400],
            [7_400, 210, 140, 801, 644, 340, 90, 17, 0],
            0.4,
            2_940,
            61_022,
        ),
        slowest=[
            SlowMessage(
                "b3d4" * 8,
                "onboarding",
                "welcome-1",
                "grey.test",
                5,
                FIRST_MS + 3 * DAY_MS,
                FIRST_MS + 3 * DAY_MS + 61_022_000,
                ["greylisted", "rate"],
            )
        ],
        samples=[
            SampleMail(
                "b3d4" * 8 + "@send.veredus.example",
                "onboarding",
                "welcome-1",
                FIRST_MS + 3 * DAY_MS,
                "Nimbus Records <hello@nimbus.example>",
                "zoe@gmail.test",
                "Welcome, Zoë: your first ten",
                MAIL,
                "Welcome, Zoë\n\nGood to have you here.",
                [("From", "Nimbus Records <hello@nimbus.example>"), ("X-Odd", "</pre><b>odd")],
                ["DKIM nimbus.example, rsa-sha256, relaxed/relaxed: valid"],
            ),
        ],
        kills=1,
        in_the_air_max=14,
        machine={"CPU": "AMD EPYC, 2 cores", "memory": "24 GB", "system": "Linux 6.1"},
        versions={"veredus": "0.1.0", "python": "3.11.7", "ray": "2.55.0"},
        settings={"workers": "2", "partitions": "32", "store": "rocksdb", "seed": "7"},
        notes=["A worker was killed on 2026-03-04 (log time) and came back after 0.9 s."],
    )


def _point(day: int) -> TimelinePoint:
    done = min(9_642, day * 36)
    return TimelinePoint(
        FIRST_MS + day * DAY_MS,
        {
            "delivered": done,
            "attempting": 20 if done < 9_642 else 0,
            "queued": 700 if done < 9_642 else 0,
            "bounced": done * 61 // 9_642,
        },
    )
