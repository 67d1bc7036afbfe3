"""Pushes the readings of a file written by `sluicegen export` in columns: `push_columns.py FILE NUMBER`. It says "ready" once the file
is read, reads where the service is, and ends when all is durable."""

import sys

import numpy
from sluicegate import Producer

COLUMN = 100_000


def main():
    file, number = sys.argv[1:]
    names, which, values, times = {}, [], [], []
    with open(file) as lines:
        for line in lines:
            _, id1, id2, sensor_type, value, at = line.rstrip("\n").split("\t")
            which.append(names.setdefault((int(id1), id2, sensor_type), len(names)))
            values.append(float(value))
            times.append(at.replace(" ", "T"))
    which = numpy.array(which)
    values = numpy.array(values)
    times = numpy.array(times, dtype="datetime64[us]")
    print("ready", flush=True)
    target = sys.stdin.readline().strip()
    with Producer.connect(target, stream_id=f"python-{number}") as producer:
        handles = numpy.array([producer.series(*name) for name in names])
        for begin in range(0, len(values), COLUMN):
            part = slice(begin, begin + COLUMN)
            producer.push_columns(handles[which[part]], values[part], times[part])
        producer.flush()


main()
