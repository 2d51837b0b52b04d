/** The words of the two SQL dialects, for highlighting and for completion while the kernel is busy. */

import { SQLDialect } from '@codemirror/lang-sql';

const COMMON =
  'add all alter and as asc between by case cast create default delete desc describe distinct drop else end ' +
  'escape exists explain false from full group having if in inner insert into is join left like limit list ' +
  'not null on or order outer partition primary key rename replace right select set show table then to true ' +
  'type types union update using values view when where with';

const KSQL =
  'advance assert changes column connector connectors define earliest emit extended final functions grace ' +
  'header headers hopping interval latest partitions pause period plugins print properties queries query ' +
  'resume retention run sample schema script session sink size source stream streams struct subject system ' +
  'tables terminate timeout topic topics tumbling undefine unset variable variables window within zone';

const KALAM =
  'access ack approve as_user backup begin cascade clear cluster column commit compact conflict consume ' +
  'database email execute export flush for grant group history index job kill last_rows live manifest modify ' +
  'namespace namespaces offset options password payload query restore role rollback shared snapshot source ' +
  'stats storage storages stream subscribe tables topic transaction until upto use user vector';

const TYPES =
  'array bigint binary bool boolean bytea bytes char date datetime decimal double embedding file float int ' +
  'integer json jsonb map real serial smallint string struct text time timestamp uuid varchar';

/** Language support by the name of the cell magic. */
export const DIALECTS: Record<string, SQLDialect> = {
  ksql: SQLDialect.define({
    keywords: `${COMMON} ${KSQL}`,
    types: TYPES,
    builtin: 'rowtime rowpartition rowoffset windowstart windowend rowkey',
    identifierQuotes: '`"'
  }),
  kalam: SQLDialect.define({
    keywords: `${COMMON} ${KALAM}`,
    types: TYPES,
    builtin: '_seq _deleted',
    identifierQuotes: '"'
  })
};
