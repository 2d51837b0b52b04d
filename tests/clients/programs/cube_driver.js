// What Cube does with its ksqlDB driver. Prints what it saw as JSON.
const { KsqlDriver } = require('@cubejs-backend/ksql-driver');

async function main() {
  const [url, token] = process.argv.slice(2);
  const driver = new KsqlDriver({ url, username: 'anyone', password: token });
  const seen = {};
  await driver.testConnection();
  seen.create = await driver.query(
    "CREATE STREAM CUBE_EVENTS (id INT KEY, note STRING) WITH (KAFKA_TOPIC='CUBE_EVENTS', VALUE_FORMAT='JSON', PARTITIONS=1)"
  );
  seen.table = await driver.query('CREATE TABLE `CUBE-COUNTS` AS SELECT id, COUNT(*) AS n FROM CUBE_EVENTS GROUP BY id');
  seen.schema = await driver.tablesSchema();
  seen.types = await driver.tableColumnTypes('CUBE.COUNTS');
  seen.drop = await driver.dropTable('CUBE.COUNTS');
  seen.after = (await driver.fetchTables()).map(t => t.fullTableName);
  console.log(JSON.stringify(seen));
  process.exit(0);
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
