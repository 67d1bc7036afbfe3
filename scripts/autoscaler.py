"""What the HorizontalPodAutoscaler of docker/kubernetes would do, by its published algorithm, on recorded metrics.

The algorithm (Kubernetes' documentation, "Horizontal Pod Autoscaling", "Algorithm details" and "Configurable scaling
behavior"): each 15 s, desired = ceil(current * value / target) for each metric, unless value / target is within 10 % of 1; the
largest one counts; within a stabilization window the most cautious of the latest answers counts; policies bound the pods of a
period.

What a pod is told to need at a load is recorded from one instance (bench-results/autoscaler.json). The load is spread evenly.
Where the database has something to spare, each pod takes as much as the recorded one; with --shared-database all of them
together take no more than that one did, and more pods are of no use.
"""

import argparse
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
OVERLAY = ROOT / "docker/kubernetes/overlays/autoscaled/horizontalpodautoscaler.yaml"
SYNC_S = 15
TOLERANCE = 0.1
# What Kubernetes does where the object says nothing.
DEFAULT_UP = [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]
DEFAULT_DOWN = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
# The load, in what one instance can take at most, each for so long: a working day with a rush, and the night.
DAY = [0.1, 0.6, 1.2, 2.5, 4.0, 2.5, 1.2, 0.1]
HOUR_S = 3_600
# Names of the metrics of pods: as recorded.
OF_PODS = {"sluicegate_budget_used": "budget_used", "sluicegate_lane_busy": "lane_busy"}


def quantity(text):
    """A quantity of Kubernetes, as a number: 250m, 0.5, 64Mi."""
    text = str(text)
    for suffix, factor in (("Mi", 2**20), ("Gi", 2**30), ("m", 0.001)):
        if text.endswith(suffix):
            return float(text[:-len(suffix)]) * factor
    return float(text)


@dataclass(frozen=True)
class Behavior:
    window_s: int
    policies: list

    @staticmethod
    def of(given, window_s, policies):
        return Behavior(given.get("stabilizationWindowSeconds", window_s), given.get("policies", policies))


class Autoscaler:
    """One HorizontalPodAutoscaler over time."""

    def __init__(self, document, cpu_request_cores):
        spec = document["spec"]
        self.least, self.most = spec.get("minReplicas", 1), spec["maxReplicas"]
        behavior = spec.get("behavior", {})
        self.up = Behavior.of(behavior.get("scaleUp", {}), 0, DEFAULT_UP)
        self.down = Behavior.of(behavior.get("scaleDown", {}), 300, DEFAULT_DOWN)
        self.targets = {}
        for metric in spec["metrics"]:
            if metric["type"] == "Resource" and metric["resource"]["name"] == "cpu":
                share = metric["resource"]["target"]["averageUtilization"] / 100
                self.targets["cpu_cores"] = share * cpu_request_cores
            elif metric["type"] == "Pods" and (name := metric["pods"]["metric"]["name"]) in OF_PODS:
                self.targets[OF_PODS[name]] = quantity(metric["pods"]["target"]["averageValue"])
            else:
                raise SystemExit(f"autoscaler: there is no record of the metric {metric}")
        self.replicas = self.least
        self.answers, self.changes = [], []

    def wanted(self, values):
        """The largest answer of all metrics; values are averages of the pods."""
        answers = []
        for name, target in self.targets.items():
            ratio = values[name] / target
            within = abs(ratio - 1) <= TOLERANCE
            answers.append(self.replicas if within else math.ceil(self.replicas * ratio))
        return max(self.least, min(self.most, max(answers)))

    def moved(self, now_s, period_s, sign):
        return sum(abs(change) for at_s, change in self.changes if now_s - at_s < period_s and change * sign > 0)

    def bound(self, now_s, behavior, sign):
        """How far policies let it go from here; the one that allows most counts."""
        bounds = []
        for policy in behavior.policies:
            start = self.replicas - sign * self.moved(now_s, policy["periodSeconds"], sign)
            step = policy["value"] if policy["type"] == "Pods" else start * policy["value"] / 100
            bounds.append(math.ceil(start + step) if sign > 0 else math.floor(start - step))
        return max(bounds) if sign > 0 else min(bounds)

    def step(self, now_s, values):
        """One look, and the replicas after it."""
        self.answers.append((now_s, self.wanted(values)))

        def recent(window_s):
            return [answer for at_s, answer in self.answers if now_s - at_s <= window_s]

        # Up to the smallest of the answers of its window, down to the largest of those of its own.
        up_to, down_to = min(recent(self.up.window_s)), max(recent(self.down.window_s))
        before = self.replicas
        if up_to > before:
            self.replicas = min(up_to, self.bound(now_s, self.up, 1), self.most)
        elif down_to < before:
            self.replicas = max(down_to, self.bound(now_s, self.down, -1), self.least)
        if self.replicas != before:
            self.changes.append((now_s, self.replicas - before))
        return self.replicas


class Recorded:
    """What an instance needs at a load."""

    FIGURES = ("cpu_cores", "budget_used", "lane_busy")

    def __init__(self, samples):
        def middle(found):
            # The first of each phase has some of the one before.
            return {name: statistics.median(sample[name] for sample in found[1:]) for name in self.FIGURES}

        rates = list(dict.fromkeys(sample["offered_per_s"] for sample in samples))
        by_rate = {rate: [sample for sample in samples if sample["offered_per_s"] == rate] for rate in rates}
        full = by_rate.pop(None)
        self.most_per_s = statistics.median(sample["committed_per_s"] for sample in full[1:])
        self.full = middle(full)
        self.points = sorted((rate, middle(found)) for rate, found in by_rate.items() if rate < self.most_per_s)

    def at(self, per_s, most_per_s):
        """A pod that is offered so much and can take so much, as a database that is shared allows."""
        if per_s >= most_per_s:
            return {**self.full, "cpu_cores": self.full["cpu_cores"] * most_per_s / self.most_per_s}
        share = per_s / most_per_s * self.most_per_s
        low = max((point for point in self.points if point[0] <= share), key=lambda point: point[0])
        high = min((point for point in self.points if point[0] > share), key=lambda point: point[0],
                   default=(self.most_per_s, {**self.full, "budget_used": low[1]["budget_used"]}))
        part = (share - low[0]) / (high[0] - low[0])
        return {name: low[1][name] + part * (high[1][name] - low[1][name]) for name in self.FIGURES}


def simulate(recorded, document, cpu_request_cores, shared_database=False):
    """Each change of the replicas: when, to how many, and at which load."""
    scaler = Autoscaler(document, cpu_request_cores)
    timeline = [(0, scaler.replicas, DAY[0])]
    for now_s in range(SYNC_S, len(DAY) * HOUR_S, SYNC_S):
        load, pods = DAY[now_s // HOUR_S], scaler.replicas
        most_per_s = recorded.most_per_s / (pods if shared_database else 1)
        values = recorded.at(load * recorded.most_per_s / pods, most_per_s)
        if scaler.step(now_s, values) != timeline[-1][1]:
            timeline.append((now_s, scaler.replicas, load))
    return timeline


def turns(timeline):
    """How often it went the other way while the load was the same."""
    steps = [(after[1] - before[1], after[2]) for before, after in zip(timeline, timeline[1:])]
    return sum(1 for before, after in zip(steps, steps[1:]) if before[0] * after[0] < 0 and before[1] == after[1])


def check(document, cpu_request_cores):
    """The object as it is, over a day: it grows, keeps its bounds, comes back, and does not go to and fro."""
    recorded = Recorded(json.loads((ROOT / "bench-results/autoscaler.json").read_text())["samples"])
    timelines = {shared: simulate(recorded, document, cpu_request_cores, shared) for shared in (False, True)}
    least, most = document["spec"].get("minReplicas", 1), document["spec"]["maxReplicas"]
    for timeline in timelines.values():
        counts = [replicas for _, replicas, _ in timeline]
        if not least < max(counts) <= most or counts[-1] != least:
            raise SystemExit(f"autoscaler: from {least} to {max(counts)} of {most} at most, and {counts[-1]} in the end: {timeline}")
        if turns(timeline) > 1:
            raise SystemExit(f"autoscaler: it goes to and fro: {timeline}")
    return recorded, timelines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared-database", action="store_true", help="the database sets the pace")
    arguments = parser.parse_args()
    deployment = yaml.safe_load((ROOT / "docker/kubernetes/base/deployment.yaml").read_text())
    request = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]
    recorded, timelines = check(yaml.safe_load(OVERLAY.read_text()), quantity(request))
    print(f"one instance takes {recorded.most_per_s:,.0f} readings a second at most")
    for now_s, replicas, load in timelines[arguments.shared_database]:
        print(f"{now_s // HOUR_S}:{now_s % HOUR_S // 60:02} h  {replicas:>2} pods  at {load:.1f} times what one instance takes")


if __name__ == "__main__":
    main()
