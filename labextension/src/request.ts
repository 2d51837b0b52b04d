/** Calls to the server extension. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

export interface IColumn {
  name: string;
  type: string;
  key: boolean;
}

/** A table, stream or view that a SELECT can read. */
export interface IRelation {
  name: string;
  kind: string;
  dialect: 'ksql' | 'kalam';
  columns: IColumn[];
}

export interface INamespace {
  name: string;
  relations: IRelation[];
}

export interface ITopic {
  name: string;
  partitions: number;
  records: number;
}

export interface IQuery {
  id: string;
  sql: string;
  state: string;
  sink: string;
  records: number;
  lag: number;
}

export interface ILiveQuery {
  id: string;
  user: string;
  sql: string;
  changes: number;
}

/** Everything that the Streams panel shows. */
export interface IOverview {
  namespaces: INamespace[];
  topics: ITopic[];
  queries: IQuery[];
  live: ILiveQuery[];
  /** When this was so (ms). */
  at: number;
}

export interface IPeek {
  topic: string;
  records: { offset: number; partition: number; timestamp: number; key: string; value: string }[];
}

/** The server answered with an error, or not at all. */
export class RequestError extends Error {}

async function request<T>(path: string, init: RequestInit = {}): Promise<T> {
  const settings = ServerConnection.makeSettings();
  const url = URLExt.join(settings.baseUrl, 'kalam-jupyter', path);
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(url, init, settings);
  } catch (error) {
    throw new RequestError('The Jupyter server does not answer.');
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new RequestError(body.message ?? `${response.status} ${response.statusText}`);
  }
  return body as T;
}

/** An engine that the panel can show: the server's, or one in a notebook's kernel. */
export interface IEngine {
  /** What the reader calls it. */
  readonly label: string;
  /** Everything there is; null as long as nothing is known. */
  overview(): Promise<IOverview | null>;
  /** The last records of a topic. */
  peek(topic: string): Promise<IPeek>;
  /** End a running query. */
  stop(query: string): Promise<void>;
}

/** The engine of the Jupyter server, which all notebooks share. */
export const serverEngine: IEngine = {
  label: 'Jupyter server',
  overview: async () => ({ ...(await request<IOverview>('overview')), at: Date.now() }),
  peek: topic => request<IPeek>(`topics/${encodeURIComponent(topic)}`),
  stop: query => request<void>(`queries/${encodeURIComponent(query)}`, { method: 'DELETE' })
};
