#!/usr/bin/env bash
# A private Apache Kafka on 127.0.0.1, for tests and demos, out of what scripts/install-kafka.sh has put into the cache.
#
#   scripts/kafka.sh start DIR PORT [SETTING=VALUE...]    one node on PORT, with its data in DIR; prints its process id
#   scripts/kafka.sh start3 DIR PORT [SETTING=VALUE...]   three nodes, on PORT, PORT+1 and PORT+2
#   scripts/kafka.sh run DIR [N]                          node N (1) again, after it has ended
#   scripts/kafka.sh stop DIR                             SIGTERM to every node, SIGKILL after 20 s
#   scripts/kafka.sh tool CLASS ARGUMENT...               e.g. TopicCommand --bootstrap-server 127.0.0.1:PORT --list
#
# The controllers of the nodes listen on PORT+100 and the two after it. KAFKA_HEAP (256m) is the memory of one node.

. "$(dirname "$0")/lib.sh"

READY_LIMIT_S=60
STOP_LIMIT_S=20

kafka="$SLUICEGATE_CACHE/kafka"
settings="$(cd "$(dirname "$0")" && pwd)/kafka"
[ -f "$kafka/broker.args" ] || fail "Kafka is not in $kafka: run scripts/install-kafka.sh"

# configure DIR NODE NODES PORT SETTING...: a node's settings and its formatted folder.
configure() {
    local dir=$1/n$2 node=$2 nodes=$3 port=$4 voters= n address
    for ((n = 1; n <= nodes; n++)); do
        voters+="${voters:+,}$n@127.0.0.1:$((port + 99 + n))"
    done
    address="127.0.0.1:$((port + node - 1))"
    mkdir -p "$dir"
    {
        cat "$settings/node.properties"
        [ "$nodes" -eq 1 ] || cat "$settings/of-three.properties"
        printf '%s\n' "node.id=$node" "controller.quorum.voters=$voters" "log.dirs=$dir/log" \
            "listeners=PLAINTEXT://$address,CONTROLLER://127.0.0.1:$((port + 99 + node))" \
            "advertised.listeners=PLAINTEXT://$address" "${@:5}"
    } >"$dir/server.properties"
    if ! [ -e "$dir/log" ]; then
        cp -r "$kafka/formatted" "$dir/log"
        echo "node.id=$node" >>"$dir/log/meta.properties"
    fi
}

# launch DIR NODE: in a session of its own, so that Ctrl-C does not end it. Its log begins anew.
launch() {
    local dir=$1/n$2
    setsid java "-Xmx${KAFKA_HEAP:-256m}" "@$kafka/broker.args" kafka.Kafka "$dir/server.properties" \
        >"$dir/server.log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
}

# await DIR NODE: it says that it has started when the others know of it.
await() {
    local dir=$1/n$2 pid waited
    pid=$(cat "$dir/pid")
    for ((waited = 0; waited < READY_LIMIT_S * 10; waited++)); do
        if grep -q 'Kafka Server started' "$dir/server.log"; then
            echo "$pid"
            return
        fi
        kill -0 "$pid" 2>/dev/null || { tail -n 20 "$dir/server.log" >&2; fail "node $2 of Kafka has ended"; }
        sleep 0.1
    done
    fail "node $2 of Kafka is not ready after $READY_LIMIT_S s; its log is $dir/server.log"
}

# start NODES DIR PORT SETTING...
start() {
    local nodes=$1 dir=$2 port=$3 n
    for ((n = 1; n <= nodes; n++)); do
        configure "$dir" "$n" "$nodes" "$port" "${@:4}"
        launch "$dir" "$n"
    done
    for ((n = 1; n <= nodes; n++)); do
        await "$dir" "$n"
    done
}

# run DIR NODE
run() {
    launch "$@"
    await "$@"
}

# Whether the process of a pid file still is the node that wrote it.
runs() {
    tr '\0' '\n' 2>/dev/null <"/proc/$(cat "$1")/cmdline" | grep -qxF "${1%/pid}/server.properties"
}

stop() {
    local signal file waited running
    for signal in TERM KILL; do
        for ((waited = 0; waited < STOP_LIMIT_S * 10; waited++)); do
            running=
            for file in "$1"/n*/pid; do
                runs "$file" || continue
                running=1
                [ "$waited" -gt 0 ] || kill -s "$signal" "$(cat "$file")" || true
            done
            [ -n "$running" ] || return 0
            sleep 0.1
        done
    done
    fail "a node of $1 does not end"
}

absolute() {
    mkdir -p "$1" && (cd "$1" && pwd)
}

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -ge 2 ] || usage
case "$1" in
    start) start 1 "$(absolute "$2")" "${3:?PORT is missing}" "${@:4}" ;;
    start3) start 3 "$(absolute "$2")" "${3:?PORT is missing}" "${@:4}" ;;
    run) run "$(absolute "$2")" "${3:-1}" ;;
    stop) stop "$(absolute "$2")" ;;
    tool) exec java "@$kafka/tool.args" "org.apache.kafka.tools.$2" "${@:3}" ;;
    *) usage ;;
esac
