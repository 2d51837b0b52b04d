// What a user of npm's ksqldb-client would write. Prints what it saw as JSON.
const KsqldbClient = require('ksqldb-client');

async function main() {
  const [host, port] = process.argv.slice(2);
  const name = 'JS_CLIENT';
  const client = new KsqldbClient({ host, port: Number(port) });
  await client.connect();
  const seen = {};
  seen.create = await client.executeStatement(
    `CREATE STREAM ${name} (id INT KEY, note STRING) WITH (KAFKA_TOPIC='${name}', VALUE_FORMAT='JSON', PARTITIONS=1);`
  );
  seen.table = await client.executeStatement(
    `CREATE TABLE ${name}_T AS SELECT id, COUNT(*) AS n FROM ${name} GROUP BY id;`
  );
  seen.streams = await client.listStreams();
  seen.describe = await client.describeSource(name);
  seen.insert = [
    await client.insertInto(name, { ID: 1, NOTE: 'a' }),
    await client.insertInto(name, { ID: 2, NOTE: 'b' })
  ];
  seen.pull = await client.query(`SELECT * FROM ${name}_T WHERE id = 1;`);
  const pushed = [];
  const ended = await client.streamQuery(
    `SELECT id, note FROM ${name} EMIT CHANGES;`,
    async data => {
      pushed.push(data);
      if (pushed.flatMap(d => d.rows ?? []).length === 2) {
        seen.close = await client.terminatePushQuery(data.metadata.queryId);
      }
    },
    { properties: { 'auto.offset.reset': 'earliest' } }
  );
  seen.push = { ended, rows: pushed.flatMap(d => d.rows ?? []) };
  seen.error = await client.query('SELECT * FROM nobody;');
  seen.drop = await client.executeStatement(`DROP TABLE ${name}_T DELETE TOPIC;`);
  await client.disconnect();
  console.log(JSON.stringify(seen));
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
