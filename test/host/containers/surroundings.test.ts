import { hostname } from 'node:os';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Container, EnvVar, Pod, PodSpec } from '../../../src/model/pod.ts';
import { type HarnessNode, NODE_ADDRESS, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerStatus } from '../../harness/pod-summary.ts';
import { podOf, STAY, sh, web } from '../node/support/manifest.ts';
import { NodePods, refusal } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-containers-env';
vi.setConfig({ maxConcurrency: 60, testTimeout: 120_000 });

const WORK = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
const WORK_VOLUME = { volumes: [{ name: 'work', emptyDir: {} }] };

describe('what surrounds containers', () => {
  let node: HarnessNode;
  let pods: NodePods;

  beforeAll(async () => {
    node = await startNode(NAME, {
      deckhand: { args: ['--cluster-dns', '10.96.0.10', '--cluster-domain', 'cluster.local'] },
    });
    pods = new NodePods(node);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  /** Runs a pod that prints something and stays; returns its log once "done" is in it. */
  const printed = async (name: string, script: string, more: Partial<Container> = {}, spec: Partial<PodSpec> = {}) => {
    await pods.create(podOf(name, sh(`${script}; echo done; ${STAY}`, more), spec));
    return pods.untilLog(await pods.ready(name), 'done');
  };
  const waits = (name: string, reason: string) =>
    pods.until(name, `wait with ${reason}`, (pod) => {
      const waiting = containerStatus(pod, 'main')?.state?.waiting;
      return waiting?.reason === reason && (waiting.message ?? '-');
    });
  const ended = (pod: Pod, name = 'main') => containerStatus(pod, name)?.state?.terminated;

  // ── environment ───────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('fileKeyRef: variables from a file that an init container wrote', async () => {
    const from = (name: string, key: string, more: object = {}): EnvVar => ({
      name,
      valueFrom: { fileKeyRef: { volumeName: 'work', path: 'made/env', key, ...more } },
    });
    const write = (text: string): Partial<PodSpec> => ({
      initContainers: [
        sh(`mkdir /work/made; printf %s "$TEXT" > /work/made/env`, {
          name: 'init',
          env: [{ name: 'TEXT', value: text }],
          ...WORK,
        }),
      ],
      ...WORK_VOLUME,
    });
    const text = "# made\nONE='first $$HOME' # said\n\nTWO='two\nlines'\n";
    const log = await printed(
      'file-env',
      'env | grep -A1 -E "^(A|B|C)="',
      {
        env: [from('A', 'ONE'), from('B', 'TWO'), from('C', 'NONE', { optional: true }), { name: 'D', value: '$(A)' }],
      },
      write(text),
    );
    expect(log).toContain('A=first $HOME\n');
    expect(log).toContain('B=two\nlines\n');
    expect(log).not.toContain('C=');

    await pods.create(podOf('file-env-key', sh(STAY, { env: [from('A', 'NONE')] }), write(text)));
    await pods.create(podOf('file-env-bad', sh(STAY, { env: [from('A', 'ONE')] }), write('ONE=bare')));
    await pods.create(
      podOf('file-env-out', sh(STAY, { env: [from('A', 'root')] }), {
        initContainers: [sh('mkdir /work/made; ln -s /etc/passwd /work/made/env', { name: 'init', ...WORK })],
        ...WORK_VOLUME,
      }),
    );
    await pods.create(
      podOf('file-env-fifo', sh(STAY, { env: [from('A', 'root')] }), {
        initContainers: [sh('mkdir /work/made; mkfifo /work/made/env', { name: 'init', ...WORK })],
        ...WORK_VOLUME,
      }),
    );
    const reason = 'CreateContainerConfigError';
    expect(await waits('file-env-key', reason)).toContain('environment variable key "NONE" not found in file');
    expect(await waits('file-env-bad', reason)).toContain("couldn't parse env file");
    expect(await waits('file-env-out', reason)).toContain("couldn't parse env file: made/env leads out of");
    expect(await waits('file-env-fifo', reason)).toContain('made/env is a fifo; expected a file');
    const elsewhere = podOf('file-env-volume', sh(STAY, { env: [from('A', 'ONE')] }), {
      volumes: [{ name: 'work', hostPath: { path: '/etc' } }],
    });
    expect((await refusal(pods.create(elsewhere))).message).toContain('referenced volume must be of type emptyDir');
  });

  it.concurrent('command and args: expansion, the image’s own, and the working directory', async () => {
    const env = [
      { name: 'WHO', value: 'world' },
      { name: 'GREETING', value: 'hello $(WHO)' },
    ];
    await pods.create(
      podOf(
        'words',
        [
          sh('', { command: ['echo', '$(GREETING)', '$$(WHO)', '$(NONE)', '$WHO'], env }),
          // What the image would run goes with args of one's own.
          {
            name: 'args',
            image: sh('').image ?? '',
            args: ['sh', '-c', 'echo $0 $(WHO); pwd', 'zero'],
            env,
            workingDir: '/made/here',
          },
        ],
        { restartPolicy: 'Never' },
      ),
    );
    const pod = await pods.until('words', 'end', (found) => {
      return ended(found) !== undefined && ended(found, 'args') !== undefined && found;
    });
    expect(pods.log(pod)).toBe('hello world $(WHO) $(NONE) $WHO\n');
    expect(pods.log(pod, 'args')).toBe('zero world\n/made/here\n');
  });

  it.concurrent('tty and stdin', async () => {
    const look = (name: string): Container =>
      sh('[ -t 1 ] && echo terminal; echo err >&2; timeout 3 cat && echo closed || echo open; sleep 600', { name });
    await pods.create(
      podOf('streams', [
        look('plain'),
        { ...look('tty'), tty: true },
        { ...look('stdin'), stdin: true },
        { ...look('both'), tty: true, stdin: true },
      ]),
    );
    const pod = await pods.ready('streams');
    const log = async (name: string): Promise<string[]> => {
      await pods.untilLog(pod, name === 'plain' ? 'closed' : '', name);
      return pods.logLines(pod, name).map(({ stream, text }) => `${stream} ${text.trim()}`);
    };
    await pods.untilLog(pod, 'open', 'stdin');
    await pods.untilLog(pod, 'open', 'both');
    expect((await log('plain')).sort()).toEqual(['stderr err', 'stdout closed']);
    // A terminal has one stream.
    expect((await log('tty')).slice(0, 2)).toEqual(['stdout terminal', 'stdout err']);
    expect((await log('stdin')).filter((line) => !line.includes('Terminated')).sort()).toEqual([
      'stderr err',
      'stdout open',
    ]);
    expect(await log('both')).toEqual(expect.arrayContaining(['stdout terminal', 'stdout err', 'stdout open']));
  });

  it.concurrent('a stop signal is refused while its feature is alpha', async () => {
    const pod = podOf('stop-signal', sh(STAY, { lifecycle: { stopSignal: 'SIGUSR1' } }), { os: { name: 'linux' } });
    const said = await refusal(pods.create(pod));
    expect(said.status).toBe(422);
    expect(said.message).toContain('stopSignal: Forbidden: needs the feature gate ContainerStopSignals');
  });

  // ── last words ──────────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('termination messages: 4096 bytes of a file, 80 lines or 2048 bytes of a log, 12 KiB of a pod', async () => {
    const fallBack = { terminationMessagePolicy: 'FallbackToLogsOnError' as const };
    const fill = (size: number, letter: string) => `head -c ${size} /dev/zero | tr '\\0' ${letter}`;
    await pods.create(
      podOf(
        'messages',
        [
          sh(`${fill(6000, 'a')} > /dev/termination-log; echo end >> /dev/termination-log; exit 1`, { name: 'file' }),
          sh(`i=0; while [ $i -lt 120 ]; do echo line $i; i=$((i+1)); done; exit 1`, { name: 'lines', ...fallBack }),
          sh(`i=0; while [ $i -lt 80 ]; do ${fill(60, 'b')}; echo " $i"; i=$((i+1)); done; exit 1`, {
            name: 'bytes',
            ...fallBack,
          }),
          sh('echo logged; echo -n written > /dev/termination-log; exit 1', { name: 'both', ...fallBack }),
          sh('echo logged; exit 0', { name: 'good', ...fallBack }),
          sh('echo logged; exit 1', { name: 'only-file' }),
          sh('ln -sf /etc/passwd /work/log; exit 1', { name: 'link', terminationMessagePath: '/work/log', ...WORK }),
        ],
        { restartPolicy: 'Never', ...WORK_VOLUME },
      ),
    );
    const pod = await pods.phase('messages', 'Failed');
    const message = (name: string): string => ended(pod, name)?.message ?? '';
    // Seven containers share 12 KiB; the file's last 4096 bytes are cut to this one's share.
    const share = Math.floor((12 * 1024) / 7);
    expect(message('file')).toBe('a'.repeat(share));
    expect(message('lines').split('\n')[0]).toBe('line 40');
    expect(message('lines').trimEnd().split('\n')).toHaveLength(80);
    expect(message('bytes').length).toBe(share);
    expect([message('both'), message('good'), message('only-file')]).toEqual(['written', '', '']);
    expect(message('link')).not.toContain('root:');

    await pods.create(
      podOf(
        'long-message',
        sh(`${fill(6000, 'c')} > /dev/termination-log; echo -n end >> /dev/termination-log; exit 1`),
        {
          restartPolicy: 'Never',
        },
      ),
    );
    expect(ended(await pods.phase('long-message', 'Failed'))?.message).toBe(`${'c'.repeat(4093)}end`);
  });

  // ── names and network ───────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('hostnames: FQDN, override, cut, and the node’s own', async () => {
    const look = 'hostname; grep -v -E "localhost|ip6" /etc/hosts';
    const long = `a${'b'.repeat(70)}`;
    const [fqdn, plain, over, cut, ofNode] = await Promise.all([
      printed('fqdn', look, {}, { hostname: 'h', subdomain: 's', setHostnameAsFQDN: true }),
      printed('not-fqdn', look, {}, { hostname: 'h', subdomain: 's' }),
      printed('override', look, {}, { hostnameOverride: 'my.own.name', hostname: 'h', subdomain: 's' }),
      printed(long, look),
      printed('of-node', 'hostname', {}, { hostNetwork: true }),
    ]);
    expect(fqdn.split('\n')[0]).toBe('h.s.default.svc.cluster.local');
    expect(plain.split('\n')[0]).toBe('h');
    expect(fqdn).toMatch(/^[\d.]+\th\.s\.default\.svc\.cluster\.local\th$/m);
    expect(over.split('\n')[0]).toBe('my.own.name');
    expect(over).toMatch(/^[\d.]+\tmy\.own\.name$/m);
    expect(cut.split('\n')[0]).toBe(long.slice(0, 63));
    expect(ofNode.split('\n')[0]).toBe(hostname());
    await pods.create(
      podOf('too-long', sh(STAY), { hostname: 'h'.repeat(63), subdomain: 's', setHostnameAsFQDN: true }),
    );
    const { message } = await pods.untilEvent('too-long', 'FailedCreatePodSandBox');
    expect(message).toContain('is too long (64 characters is the max');
    const both = podOf('both-names', sh(STAY), { hostnameOverride: 'a.b', setHostnameAsFQDN: true });
    expect((await refusal(pods.create(both))).message).toContain('may not be specified when setHostnameAsFQDN is true');
  });

  it.concurrent('dnsConfig adds to what the policy gives; hostAliases also in the host’s network', async () => {
    const dnsConfig = {
      nameservers: ['192.0.2.7', '10.96.0.10'],
      searches: ['mine.example', 'cluster.local'],
      options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
    };
    const log = await printed('dns-merged', 'cat /etc/resolv.conf', {}, { dnsConfig });
    expect(log).toMatch(/nameserver 10\.96\.0\.10\nnameserver 192\.0\.2\.7\n/);
    expect(log).toMatch(/^search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local .*mine\.example/m);
    expect(log).toMatch(/^options .*ndots:2/m);
    expect(log).toContain('edns0');
    const hostAliases = [{ ip: '192.0.2.99', hostnames: ['alias-1', 'alias-2'] }];
    const hosts = await printed('host-aliases', 'cat /etc/hosts', {}, { hostAliases, hostNetwork: true });
    expect(hosts).toContain('# Kubernetes-managed hosts file (host network).');
    expect(hosts).toContain('# Entries added by HostAliases.\n192.0.2.99\talias-1\talias-2\n');
  });

  it.concurrent('hostPort: on one address only, and of a sidecar', async () => {
    const port = (hostPort: number, hostIP?: string) => ({
      ports: [{ name: 'http', containerPort: 8080, hostPort, ...(hostIP === undefined ? {} : { hostIP }) }],
    });
    await pods.create(podOf('port-address', web(port(18_090, NODE_ADDRESS))));
    await pods.create(podOf('port-loopback', web(port(18_091, '127.0.0.1'))));
    await pods.create(
      podOf('port-sidecar', sh(STAY), { initContainers: [web({ ...port(18_092), restartPolicy: 'Always' })] }),
    );
    await Promise.all(['port-address', 'port-loopback', 'port-sidecar'].map((name) => pods.ready(name)));
    const ask = async (number: number): Promise<string> =>
      (await node.client.request(`http://${NODE_ADDRESS}:${number}/`)).body.trim();
    expect(await ask(18_090)).toBe('port-address');
    expect(await ask(18_092)).toBe('port-sidecar');
    await expect(ask(18_091)).rejects.toThrow();
    expect((await node.local.request('http://127.0.0.1:18091/')).body.trim()).toBe('port-loopback');
  });
});
