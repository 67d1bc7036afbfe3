# Run once, when MySQL makes its database: an account for Grafana, which may read and nothing else.
# shellcheck shell=sh
MYSQL_PWD="$MYSQL_ROOT_PASSWORD" mysql --protocol=socket --user=root <<SQL
CREATE USER 'grafana'@'%' IDENTIFIED BY '$GRAFANA_DB_PASSWORD';
GRANT SELECT ON \`$MYSQL_DATABASE\`.* TO 'grafana'@'%';
SQL
