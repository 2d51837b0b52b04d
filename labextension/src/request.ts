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

export const overview = (): Promise<IOverview> => request('overview');

export const peek = (topic: string): Promise<IPeek> => request(`topics/${encodeURIComponent(topic)}`);

export const stopQuery = (id: string): Promise<void> =>
  request(`queries/${encodeURIComponent(id)}`, { method: 'DELETE' });
