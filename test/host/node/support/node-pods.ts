import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Event } from '../../../../src/model/objects.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { resources } from '../../../../src/model/resource.ts';
import { cgroupDirectories, cgroupHierarchies, pidsIn } from '../../../harness/cgroup-hierarchies.ts';
import type { HarnessNode } from '../../../harness/harness-node.ts';
import { ApiFailure } from '../../../harness/kube-client.ts';
import { containerId, isReady, summarize } from '../../../harness/pod-summary.ts';
import { waitFor } from '../../../harness/wait-for.ts';

/** One line of a container's log in CRI layout. */
export interface LogLine {
  readonly time: string;
  readonly stream: string;
  readonly tag: string;
  readonly text: string;
}

const NAMESPACE = 'default';

/** The pods of a node, seen from outside: through the API, through /proc and through the node's files. */
export class NodePods {
  private readonly node: HarnessNode;

  constructor(node: HarnessNode) {
    this.node = node;
  }

  create(pod: Pod): Promise<Pod> {
    return this.node.deckhand.api.create(resources.pods, pod);
  }

  get(name: string): Promise<Pod> {
    return this.node.deckhand.api.get(resources.pods, NAMESPACE, name);
  }

  find(name: string): Promise<Pod | undefined> {
    return this.node.deckhand.api.find(resources.pods, NAMESPACE, name);
  }

  delete(name: string, graceSeconds?: number): Promise<void> {
    return this.node.deckhand.api.delete(resources.pods, NAMESPACE, name, graceSeconds);
  }

  /** Waits until `check` is satisfied with the pod; the error tells how the pod stands. */
  async until<T>(
    name: string,
    what: string,
    check: (pod: Pod) => Promise<T | undefined | false> | T | undefined | false,
    timeoutMs = 60_000,
  ): Promise<T> {
    let last: Pod | undefined;
    try {
      return await waitFor(
        `pod ${name} to ${what}`,
        async () => {
          last = await this.get(name);
          return check(last);
        },
        { timeoutMs, intervalMs: 100 },
      );
    } catch (error) {
      const status = last === undefined ? 'not there' : JSON.stringify(last.status);
      throw new Error(`${error instanceof Error ? error.message : error}\nstatus: ${status}`);
    }
  }

  ready(name: string, timeoutMs?: number): Promise<Pod> {
    return this.until(name, 'be ready', (pod) => isReady(pod) && pod, timeoutMs);
  }

  phase(name: string, phase: string, timeoutMs?: number): Promise<Pod> {
    return this.until(name, `be ${phase}`, (pod) => pod.status?.phase === phase && pod, timeoutMs);
  }

  async gone(name: string, timeoutMs = 60_000): Promise<void> {
    await waitFor(`pod ${name} to be gone`, async () => (await this.find(name)) === undefined, { timeoutMs });
  }

  async events(name: string): Promise<Event[]> {
    const events = await this.node.deckhand.api.list<Event>(resources.events, NAMESPACE);
    return events.filter((event) => event.involvedObject.name === name);
  }

  untilEvent(name: string, reason: string, timeoutMs = 60_000): Promise<Event> {
    return waitFor(
      `event ${reason} of ${name}`,
      async () => (await this.events(name)).find((event) => event.reason === reason),
      { timeoutMs, intervalMs: 200 },
    );
  }

  logFile(pod: Pod, container: string, attempt = 0): string {
    const { namespace, name, uid } = pod.metadata;
    return `${this.node.run.paths.libDir}/logs/${namespace}_${name}_${uid}/${container}/${attempt}.log`;
  }

  logLines(pod: Pod, container = 'main', attempt = 0): LogLine[] {
    return readFileSync(this.logFile(pod, container, attempt), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [time = '', stream = '', tag = '', ...words] = line.split(' ');
        return { time, stream, tag, text: words.join(' ') };
      });
  }

  log(pod: Pod, container = 'main', attempt = 0): string {
    return this.logLines(pod, container, attempt)
      .map(({ text }) => `${text}\n`)
      .join('');
  }

  /** The log once it holds `text`. */
  untilLog(pod: Pod, text: string, container = 'main', timeoutMs = 60_000): Promise<string> {
    return waitFor(
      `"${text}" in the log of ${pod.metadata.name}`,
      () => {
        const log = this.log(pod, container);
        return log.includes(text) && log;
      },
      { timeoutMs },
    );
  }

  /** What an emptyDir on disk holds, read on the host. */
  emptyDir(pod: Pod, volume: string): string {
    return `${this.node.run.paths.libDir}/kubelet/pods/${pod.metadata.uid}/volumes/kubernetes.io~empty-dir/${volume}`;
  }

  /** The process id of a running container on the host. */
  async pid(pod: Pod, container = 'main'): Promise<number> {
    return this.taskPid(containerId(pod, container));
  }

  async taskPid(id: string): Promise<number> {
    const tasks = await this.node.containerd.ctr('tasks', 'list');
    const pid = Number(new RegExp(`^${id}\\s+(\\d+)`, 'm').exec(tasks)?.[1]);
    if (id === '' || !(pid > 0)) throw new Error(`no task "${id}" in:\n${tasks}`);
    return pid;
  }

  /** A file as the container sees it. */
  async file(pod: Pod, path: string, container = 'main'): Promise<string> {
    return readFileSync(`/proc/${await this.pid(pod, container)}/root${path}`, 'utf8');
  }

  /** Ids of the pod's sandboxes that containerd has, running or not. */
  async sandboxIds(pod: Pod): Promise<string[]> {
    const filter = `labels."io.kubernetes.pod.uid"==${pod.metadata.uid},labels."io.cri-containerd.kind"==sandbox`;
    const ids = await this.node.containerd.ctr('containers', 'list', '--quiet', filter);
    return ids.split('\n').filter((id) => id !== '');
  }

  /** The value of a cgroup file of the pod (not of one container), from whichever hierarchy has it. */
  podCgroup(pod: Pod, file: string): string | undefined {
    const root = `${this.node.run.paths.cgroupRoot}/kubepods`;
    for (const mount of cgroupHierarchies()) {
      for (const qos of ['', '/burstable', '/besteffort']) {
        const path = join(mount, `${root}${qos}/pod${pod.metadata.uid}`, file);
        if (existsSync(path)) return readFileSync(path, 'utf8').trim();
      }
    }
    return undefined;
  }

  /** Where the pod's cgroup is, the same in every hierarchy. */
  podCgroupPath(pod: Pod): string | undefined {
    const root = `${this.node.run.paths.cgroupRoot}/kubepods`;
    return ['', '/burstable', '/besteffort']
      .map((qos) => `${root}${qos}/pod${pod.metadata.uid}`)
      .find((path) => cgroupDirectories(path).length > 0);
  }

  /** The pod's processes, the sandbox's included. */
  processes(pod: Pod): number[] {
    const root = `${this.node.run.paths.cgroupRoot}/kubepods`;
    return pidsIn(
      ['', '/burstable', '/besteffort'].flatMap((qos) => cgroupDirectories(`${root}${qos}/pod${pod.metadata.uid}`)),
    );
  }

  /** A table as `kubectl get pods` shows it, for messages. */
  async table(): Promise<string> {
    const pods = await this.node.deckhand.api.list<Pod>(resources.pods, NAMESPACE);
    return pods
      .map(summarize)
      .map(({ name, ready, state, restarts }) => `${name} ${ready} ${state} ${restarts}`)
      .join('\n');
  }

  podDirectories(): string[] {
    const directory = `${this.node.run.paths.libDir}/kubelet/pods`;
    return existsSync(directory) ? readdirSync(directory) : [];
  }
}

/** The API's answer to a request that must be refused. */
export async function refusal(request: Promise<unknown>): Promise<ApiFailure> {
  try {
    await request;
  } catch (error) {
    if (error instanceof ApiFailure) return error;
    throw error;
  }
  throw new Error('the API accepted what it must refuse');
}
