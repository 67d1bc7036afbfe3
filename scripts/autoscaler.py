"""What the HorizontalPodAutoscaler of docker/kubernetes would do, by its published algorithm, on recorded metrics.

The algorithm (kubernetes.io, "Horizontal Pod Autoscaling: Algorithm details" and "Configurable scaling behavior"): each 15 s,
desired = ceil(current * value / target) for each metric, unless value / target is within 10 % of 1; the largest one counts;
within a stabilization window the most cautious of the latest answers counts; policies bound the pods of a period.

The metrics are of one instance that has all of the load. With more of them each is taken to have its part of it, which is what
connections that are spread come to as long as the database has something to spare; where it has not, a full budget stays full
whatever the number of instances, and --shared-database shows that case.
"""

import argparse
import json
import math
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
            elif metric["type"] == "Pods" and metric["pods"]["metric"]["name"] == "sluicegate_budget_used":
                self.targets["budget_used"] = quantity(metric["pods"]["target"]["averageValue"])
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
            moved = self.moved(now_s, policy["periodSeconds"], sign)
            start = self.replicas - sign * moved
            step = policy["value"] if policy["type"] == "Pods" else start * policy["value"] / 100
            bounds.append(math.ceil(start + step) if sign > 0 else math.floor(start - step))
        return max(bounds) if sign > 0 else min(bounds)

    def step(self, now_s, values):
        """One look, and the replicas after it."""
        self.answers.append((now_s, self.wanted(values)))
        recent = lambda window_s: [answer for at_s, answer in self.answers if now_s - at_s <= window_s]
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


def at(samples, now_s):
    """The sample of that time; before and after the record the load rests."""
    found = [sample for sample in samples if sample["at_s"] <= now_s]
    return found[-1] if found and now_s <= samples[-1]["at_s"] else {"cpu_cores": 0.0, "budget_used": 0.0, "committed_per_s": 0}


def simulate(samples, document, cpu_request_cores, shared_database=False, rest_s=1_800):
    """Each change of the replicas: when, to how many, and what was seen."""
    scaler = Autoscaler(document, cpu_request_cores)
    timeline = [(0, scaler.replicas, at(samples, 0))]
    for now_s in range(SYNC_S, int(samples[-1]["at_s"]) + rest_s, SYNC_S):
        sample = at(samples, now_s)
        pods = scaler.replicas
        full = shared_database and sample["budget_used"] > 0.5
        values = {"cpu_cores": sample["cpu_cores"] / pods, "budget_used": sample["budget_used"] / (1 if full else pods)}
        if scaler.step(now_s, values) != timeline[-1][1]:
            timeline.append((now_s, scaler.replicas, sample))
    return timeline


def turns(timeline):
    """How often it went the other way."""
    steps = [after[1] - before[1] for before, after in zip(timeline, timeline[1:])]
    return sum(1 for before, after in zip(steps, steps[1:]) if before * after < 0)


def check(document, cpu_request_cores):
    """The object as it is: grows under load, within its bounds, and comes back without going to and fro."""
    samples = json.loads((ROOT / "bench-results/autoscaler.json").read_text())["samples"]
    results = {}
    for shared in (False, True):
        timeline = simulate(samples, document, cpu_request_cores, shared)
        least, most = document["spec"]["minReplicas"], document["spec"]["maxReplicas"]
        counts = [replicas for _, replicas, _ in timeline]
        if max(counts) == least or max(counts) > most or counts[-1] != least:
            raise SystemExit(f"autoscaler: from {least} to {max(counts)} of {most} at most, and {counts[-1]} in the end: {timeline}")
        if turns(timeline) > 1:
            raise SystemExit(f"autoscaler: it goes to and fro: {timeline}")
        results[shared] = timeline
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared-database", action="store_true", help="the database sets the pace")
    arguments = parser.parse_args()
    deployment = yaml.safe_load((ROOT / "docker/kubernetes/base/deployment.yaml").read_text())
    request = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]
    document = yaml.safe_load(OVERLAY.read_text())
    for now_s, replicas, sample in check(document, quantity(request))[arguments.shared_database]:
        print(f"{now_s:>5} s  {replicas:>2} pods   {sample['committed_per_s']:>8,} readings/s  {sample['cpu_cores']:.3f} cores  "
              f"{sample['budget_used']:.0%} of the budget")


if __name__ == "__main__":
    main()
