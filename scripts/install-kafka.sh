#!/usr/bin/env bash
# Puts Apache Kafka, as its jars on Maven Central, into the cache directory. Prints nothing when it is there.
#
#   CACHE/kafka/libs           the jars
#   CACHE/kafka/broker.args    for a node: java -Xmx256m @broker.args kafka.Kafka server.properties
#   CACHE/kafka/tool.args      for a tool: java @tool.args org.apache.kafka.tools.TopicCommand --list ...
#   CACHE/kafka/formatted      a folder of logs before the first start; `node.id=N` is to be added to its meta.properties
#   CACHE/kafka/*.jsa          classes as Java has them in memory, which halve a start; another Java does without them
#
# Ends with status 69, and says why, where there is no Java or no Maven and no package of it.

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

VERSION=4.3.1
LOG4J_VERSION=2.25.4
MINIMUM_JAVA=17
UNAVAILABLE=69

target="$SLUICEGATE_CACHE/kafka"
installed="$target/.installed-$VERSION"
# Any sixteen bytes in base64.
CLUSTER_ID=c2x1aWNlZ2F0ZS10ZXN0cw

unavailable() {
    say "Kafka cannot be had: $*" >&2
    exit $UNAVAILABLE
}

java_version() {
    java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = \([0-9]*\).*/\1/p'
}

# need_program PROGRAM PACKAGE
need_program() {
    command -v "$1" >/dev/null && return
    command -v apt-get >/dev/null || unavailable "there is no $1, and no apt-get to install it with"
    update_package_lists
    apt-cache show "$2" >/dev/null 2>&1 || unavailable "there is no $1, and no package $2"
    need_packages "$2"
}

need_java() {
    need_program java default-jre-headless
    local version
    version=$(java_version)
    [ "${version:-0}" -ge $MINIMUM_JAVA ] || unavailable "Java $version is too old, it takes $MINIMUM_JAVA"
}

# Runs a command whose words are of interest when it fails.
logged() {
    "$@" >"$target.log" 2>&1 || { tail -n 15 "$target.log" >&2; fail "$1 failed; its log is $target.log"; }
}

write_pom() {
    local excluded exclusions=
    # What only Kafka Connect needs is half of what the tools would bring.
    for excluded in connect-runtime connect-transforms connect-json connect-api; do
        exclusions+="<exclusion><groupId>org.apache.kafka</groupId><artifactId>$excluded</artifactId></exclusion>"
    done
    cat >"$1" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sluicegate.test</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version></dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$VERSION</version>
      <exclusions>$exclusions</exclusions>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$LOG4J_VERSION</version>
    </dependency>
  </dependencies>
</project>
POM
}

write_log4j() {
    cat >"$target/log4j2.xml" <<'LOG4J'
<Configuration status="WARN">
  <Appenders>
    <Console name="out" target="SYSTEM_ERR">
      <PatternLayout pattern="%d{HH:mm:ss,SSS} %p %m (%c{1})%n%ex"/>
    </Console>
  </Appenders>
  <Loggers><Root level="${sys:level:-WARN}"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
LOG4J
}

# write_arguments FILE OPTION...: started often and for minutes, so that starting quickly counts for more than speed. The
# jars have an order, without which an archive of classes would not be theirs.
write_arguments() {
    local file=$1 jar path=
    shift
    for jar in "$target"/libs/*.jar; do
        path+="${path:+:}$jar"
    done
    printf '"%s"\n' "-Dlog4j2.configurationFile=$target/log4j2.xml" "$@" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Xshare:auto -Xlog:disable -Xlog:all=error:stderr -cp "$path" >"$file"
}

get_jars() {
    local unfinished="$target.tmp"
    rm -rf "$unfinished" "$target"
    mkdir -p "$unfinished" "$target"
    write_pom "$unfinished/pom.xml"
    logged mvn --batch-mode --quiet --file "$unfinished/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$unfinished/libs"
    mv "$unfinished/libs" "$target/libs"
    rm -rf "$unfinished"
}

# Writing it takes a start of Java, copying it none.
format_folder() {
    local settings="$target/format.properties"
    {
        cat scripts/kafka/node.properties
        printf '%s\n' node.id=1 controller.quorum.voters=1@127.0.0.1:1 "log.dirs=$target/formatted" \
            listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1 advertised.listeners=PLAINTEXT://127.0.0.1:2
    } >"$settings"
    logged java "@$target/tool.args" kafka.tools.StorageTool format --cluster-id "$CLUSTER_ID" --config "$settings"
    rm "$settings"
    # A node without a folder's id makes one.
    sed -i '/^version=/!{/^cluster.id=/!d}' "$target/formatted/meta.properties"
}

# A node and a tool are run once, which also shows that they do.
archive_classes() {
    local port=$((20000 + RANDOM % 10000)) name
    data=$(mktemp -d)
    logged env JDK_JAVA_OPTIONS="-XX:ArchiveClassesAtExit=$target/broker.jsa" scripts/kafka.sh start "$data" $port
    logged env JDK_JAVA_OPTIONS="-XX:ArchiveClassesAtExit=$target/tool.jsa" scripts/kafka.sh tool TopicCommand \
        --bootstrap-server "127.0.0.1:$port" --create --topic any
    logged scripts/kafka.sh stop "$data"
    for name in broker tool; do
        sed -i "1i \"-XX:SharedArchiveFile=$target/$name.jsa\"" "$target/$name.args"
    done
}
clean_up() {
    [ -n "$data" ] || return
    scripts/kafka.sh stop "$data" || true
    rm -rf "$data"
}

install_kafka() {
    get_jars
    write_log4j
    write_arguments "$target/broker.args" -Dlevel=INFO -XX:MaxDirectMemorySize=128m
    write_arguments "$target/tool.args" -Xmx128m
    format_folder
    archive_classes
    rm "$target.log"
    touch "$installed"
}

data=
mkdir -p "$SLUICEGATE_CACHE"
exec {lock}>"$target.lock"
flock "$lock" || fail "cannot lock $target.lock" # one installation at a time
need_java
if ! [ -e "$installed" ]; then
    need_program mvn maven
    step "getting Kafka $VERSION into $target" install_kafka
fi
