#!/bin/sh
# Of the image that a test makes: does what docker/compose.yaml asks of the entry point of MySQL's official image.
set -eu
data=/var/lib/mysql
if ! [ -d "$data/mysql" ]; then
    chown mysql:mysql "$data"
    mysqld --user=mysql --initialize-insecure
    mysqld --user=mysql --skip-networking &
    server=$!
    until mysqladmin --user=root --silent ping; do
        kill -0 "$server"
        sleep 0.2
    done
    mysql --user=root <<SQL
CREATE DATABASE $MYSQL_DATABASE;
CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT ALL ON $MYSQL_DATABASE.* TO '$MYSQL_USER'@'%';
CREATE USER 'root'@'%' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
ALTER USER 'root'@'localhost' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
SQL
    for script in /docker-entrypoint-initdb.d/*.sh; do
        # shellcheck disable=SC1090 # whatever is there
        . "$script"
    done
    MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysqladmin --user=root shutdown
    wait "$server"
fi
exec mysqld --user=mysql
