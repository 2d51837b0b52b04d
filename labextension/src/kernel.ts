/** The engine that a notebook's kernel holds, seen through the comm of `kalam_jupyter.magics.panel`. */

import { Kernel, KernelMessage } from '@jupyterlab/services';
import { JSONObject } from '@lumino/coreutils';
import { IEngine, IOverview, IPeek, RequestError } from './request';

const TARGET = 'kalam-jupyter.panel';
/** The kernel stops sending to a panel that it has not heard of for three of these (ms). */
const RENEW = 60_000;
/** How long an answer may take (ms): a cell that runs holds it back where there are no subshells. */
const PATIENCE = 15_000;

type Reply = { resolve: (value: any) => void; reject: (error: Error) => void };

interface IOverviewMessage {
  type: 'overview';
  target: string | null;
  overview: IOverview | null;
}

interface IReplyMessage {
  type: 'reply';
  id: number;
  result?: unknown;
  error?: string;
}

const known = new WeakMap<Kernel.IKernelConnection, Map<string, KernelEngine>>();

/** Ask for the comm of `TARGET`: beside a running cell where the kernel has subshells. */
async function findComm(kernel: Kernel.IKernelConnection): Promise<string | undefined> {
  let subshellId: string | undefined;
  if (kernel.supportsSubshells) {
    subshellId = (await kernel.requestCreateSubshell({}).done).content.subshell_id;
  }
  const request = KernelMessage.createMessage<KernelMessage.ICommInfoRequestMsg>({
    msgType: 'comm_info_request',
    channel: 'shell',
    username: kernel.username,
    session: kernel.clientId,
    subshellId,
    content: { target_name: TARGET }
  });
  const future = kernel.sendShellMessage<'comm_info_request'>(request, true);
  const content = (await future.done).content as KernelMessage.ICommInfoReply;
  if (subshellId !== undefined) {
    await kernel.requestDeleteSubshell({ subshell_id: subshellId }).done;
  }
  return content.status === 'ok' ? Object.keys(content.comms)[0] : undefined;
}

/** Find the engine of a kernel; null where `%load_ext kalam_jupyter` has not run. */
export async function findKernelEngine(kernel: Kernel.IKernelConnection, label: string): Promise<KernelEngine | null> {
  const id = await findComm(kernel);
  if (id === undefined) {
    return null;
  }
  const engines = known.get(kernel) ?? new Map<string, KernelEngine>();
  known.set(kernel, engines);
  let engine = engines.get(id);
  if (!engine) {
    engine = new KernelEngine(kernel, kernel.createComm(TARGET, id), label);
    engines.set(id, engine);
  }
  return engine;
}

export class KernelEngine implements IEngine {
  private last: IOverview | null = null;
  private replies = new Map<number, Reply>();
  private next = 1;
  private asked = 0;

  constructor(
    private kernel: Kernel.IKernelConnection,
    private comm: Kernel.IComm,
    readonly label: string
  ) {
    comm.onMsg = message => this.receive(message.content.data as unknown as IOverviewMessage | IReplyMessage);
  }

  /** Called when the kernel said something new. */
  onChange: () => void = () => undefined;

  /** Whether the notebook's connection is an engine in its kernel, not the server's or a cluster. */
  get own(): boolean {
    return this.last !== null;
  }

  /** Ask the kernel to send what changes, or to leave it. */
  watch(value: boolean): void {
    if (value && Date.now() - this.asked < RENEW) {
      return;
    }
    this.asked = value ? Date.now() : 0;
    void this.send({ type: 'watch', value });
  }

  async overview(): Promise<IOverview | null> {
    this.watch(true);
    return this.last;
  }

  peek(topic: string): Promise<IPeek> {
    return this.ask({ type: 'peek', topic });
  }

  stop(query: string): Promise<void> {
    return this.ask({ type: 'stop', query });
  }

  private ask<T>(request: JSONObject): Promise<T> {
    const id = this.next++;
    return new Promise<T>((resolve, reject) => {
      const late = window.setTimeout(() => {
        this.replies.delete(id);
        reject(new RequestError('The kernel is busy; it will answer when the running cell has ended.'));
      }, PATIENCE);
      const done = <V>(then: (value: V) => void) => (value: V) => {
        window.clearTimeout(late);
        then(value);
      };
      this.replies.set(id, { resolve: done(resolve), reject: done(reject) });
      void this.send({ ...request, id });
    });
  }

  private async send(message: JSONObject): Promise<void> {
    if (this.kernel.supportsSubshells) {
      // Not in the interface yet; a message sent before would wait for the running cell.
      await (this.comm as { subshellStarted?: Promise<void> }).subshellStarted;
    }
    if (!this.comm.isDisposed) {
      this.comm.send(message);
    }
  }

  private receive(message: IOverviewMessage | IReplyMessage): void {
    if (message.type === 'overview') {
      this.last = message.overview && { ...message.overview, at: Date.now() };
      this.onChange();
      return;
    }
    const reply = this.replies.get(message.id);
    this.replies.delete(message.id);
    if (message.error !== undefined) {
      reply?.reject(new RequestError(message.error));
    } else {
      reply?.resolve(message.result);
    }
  }
}
