import { readFileSync, writeFileSync } from 'node:fs';
import type { Node } from '../../../src/model/node.ts';
import type { Pod } from '../../../src/model/pod.ts';
import type { Service } from '../../../src/model/service.ts';
import { containerId, isReady } from '../../harness/pod-summary.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { Api } from './api.ts';
import type { Check } from './checks.ts';
import { get, Load, must, run, SLOWLY } from './machine.ts';
import { runThere } from './neighbour.ts';
import { CONTROL_PLANE, DATA, machines } from './pair.ts';

const LIMIT_MS = 20 * 60_000;
const TOKEN = { id: 'deckhd', secret: '0123456789abcdef' };
const CLUSTER_PODS = '10.244.0.0/16';
const [here, there] = machines;
const ASKED = 40;

const api = new Api(`${DATA}/kubeconfig`);
const kubectl = (...args: readonly string[]): Promise<string> =>
  run('kubectl', '--kubeconfig', `${DATA}/kubeconfig`, ...args);

async function apply(...objects: readonly object[]): Promise<void> {
  writeFileSync('/vmtest/object.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
  await kubectl('apply', '-f', '/vmtest/object.json');
}

const startControlPlane = (): Promise<string> =>
  run('systemd-run', '--unit=control-plane', '--collect', process.execPath, '/vmtest/vm-guest.mjs', 'control-plane');

type Place = 'here' | 'there';
const runAt = (place: Place, argv: readonly string[]): Promise<string> => {
  const [file = '', ...args] = argv;
  return place === 'there' ? runThere(argv) : run(file, ...args);
};

const SERVES = `echo "$POD_NAME" > /www/index.html
httpd -f -p 8080 -h /www & listener=$!
trap 'kill $listener; exit 0' TERM
wait`;

/** A pod of a machine: one that serves, or one that only waits to be asked through. */
function podOf(name: string, place: Place, serves: boolean): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: serves ? { app: 'web', place } : { app: 'client' } },
    spec: {
      nodeName: (place === 'here' ? here : there).name,
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 30,
      containers: [
        {
          name: 'main',
          image: serves ? 'deckhand.local/web:1' : 'deckhand.local/busybox:1',
          command: ['sh', '-c', serves ? SERVES : "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"],
          env: [{ name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
          ...(serves
            ? {
                readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 5, timeoutSeconds: 30 },
                // Other machines learn of its end by way of the API.
                lifecycle: { preStop: { sleep: { seconds: 10 } } },
              }
            : {}),
        },
      ],
    },
  };
}

function serviceOf(name: string, selector: object, nodePort: number, more: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { type: 'NodePort', selector, ports: [{ port: 80, targetPort: 8080, nodePort }], ...more },
  };
}

async function ready(...names: readonly string[]): Promise<void> {
  await waitFor(
    `${names.join(', ')} to be Ready`,
    async () => {
      const { items } = await api.read<{ items: Pod[] }>('/api/v1/namespaces/default/pods');
      return names.every((name) => items.some((pod) => pod.metadata.name === name && isReady(pod)));
    },
    SLOWLY,
  );
}

const podNamed = (name: string): Promise<Pod> => api.read<Pod>(`/api/v1/namespaces/default/pods/${name}`);
const clusterIP = async (name: string): Promise<string> =>
  (await api.read<Service>(`/api/v1/namespaces/default/services/${name}`)).spec?.clusterIP ?? '';

const clients = { here: 'client-1', there: 'client-2' } as const;

/** How often each line is there; a server that speaks both families has addresses of IPv4 in brackets. */
function counted(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of text.split('\n').map((one) => one.trim().replace(/^\[::ffff:(.*)\]$/, '$1'))) {
    if (line !== '') counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return counts;
}

/** Asks so often from inside the client's pod, on connections of their own, and counts who answered. */
async function askFromPod(place: Place, url: string, times = ASKED): Promise<Map<string, number>> {
  const container = containerId(await podNamed(clients[place]), 'main');
  const script = `for i in $(seq ${times}); do timeout 20 wget -q -O - ${url} 2>&1 || echo LOST; done`;
  const id = `ask-${Date.now()}`;
  const argv = ['ctr', '-n', 'k8s.io', 'tasks', 'exec', '--exec-id', id, container, 'sh', '-c', script];
  return counted(await runAt(place, argv));
}

/** The same from the machine itself. */
async function askFromMachine(place: Place, url: string, times = ASKED): Promise<Map<string, number>> {
  const script = `for i in $(seq ${times}); do timeout 20 busybox wget -q -O - ${url} 2>&1 || echo LOST; done`;
  return counted(await runAt(place, ['sh', '-c', script]));
}

const told = (counts: ReadonlyMap<string, number>): string =>
  [...counts]
    .map(([who, count]) => `${who} ${count}`)
    .sort()
    .join(', ');

function answeredBy(what: string, counts: ReadonlyMap<string, number>, ...who: readonly string[]): string {
  must([...counts.keys()].sort().join() === [...who].sort().join(), `${what}: ${told(counts)}, not ${who.join(', ')}`);
  return `${what} ${told(counts)}`;
}

/** What holds of Services across the cable, in any mode. */
async function acrossHolds(): Promise<string> {
  const [far, near, all] = [await clusterIP('there'), await clusterIP('here'), await clusterIP('web')];
  const web = ['web-1', 'web-2'];
  return [
    answeredBy('pod here → there:', await askFromPod('here', `http://${far}/`), 'web-2'),
    answeredBy('pod there → here:', await askFromPod('there', `http://${near}/`), 'web-1'),
    answeredBy('machine here → there:', await askFromMachine('here', `http://${far}/`), 'web-2'),
    answeredBy('machine there → here:', await askFromMachine('there', `http://${near}/`), 'web-1'),
    answeredBy('pod here → both:', await askFromPod('here', `http://${all}/`), ...web),
    answeredBy('pod there → both:', await askFromPod('there', `http://${all}/`), ...web),
    // In by one machine, to a pod of the other, and back by the one.
    answeredBy('node port here → there:', await askFromMachine('there', `http://${here.ip}:30002/`), 'web-2'),
    answeredBy('node port there → here:', await askFromMachine('here', `http://${there.ip}:30001/`), 'web-1'),
  ].join('; ');
}

async function mode(name: string): Promise<void> {
  for (const place of ['here', 'there'] as const) {
    await runAt(place, [
      'sh',
      '-c',
      `sed -i 's/ --proxy-mode [a-z]*//; s/$/ --proxy-mode ${name}/' /etc/default/deckhand && systemctl restart deckhand`,
    ]);
  }
}

const inMode = (name: string): Check => ({
  title: `mode ${name}: Services across the cable`,
  limitMs: LIMIT_MS,
  run: async () => {
    await mode(name);
    return acrossHolds();
  },
});

export const pairChecks: readonly Check[] = [
  {
    title: 'two machines join one cluster by lab/worker.sh, with a bootstrap token',
    limitMs: LIMIT_MS,
    always: true,
    run: async () => {
      await startControlPlane();
      await waitFor('the API', () => api.text('/api/v1/nodes'), SLOWLY);
      const config = JSON.parse(readFileSync(`${DATA}/kubeconfig`, 'utf8'));
      const ca = Buffer.from(config.clusters[0].cluster['certificate-authority-data'], 'base64').toString();
      await apply(
        {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: `bootstrap-token-${TOKEN.id}`, namespace: 'kube-system' },
          type: 'bootstrap.kubernetes.io/token',
          stringData: {
            'token-id': TOKEN.id,
            'token-secret': TOKEN.secret,
            'usage-bootstrap-authentication': 'true',
            'auth-extra-groups': 'system:bootstrappers:kubeadm:default-node-token',
          },
        },
        ...machines.map(({ name, pods }) => ({
          apiVersion: 'v1',
          kind: 'Node',
          metadata: { name },
          spec: { podCIDR: pods, podCIDRs: [pods] },
        })),
      );
      await waitFor(
        'the other machine',
        () =>
          runThere(['true']).then(
            () => true,
            () => false,
          ),
        SLOWLY,
      );
      const began = performance.now();
      const join = async (place: Place, own: (typeof machines)[number], other: (typeof machines)[number]) => {
        const script = `
cat > /vmtest/ca.crt <<'PEM'
${ca}
PEM
systemctl start containerd
for image in /vmtest/images/*.tar; do ctr -n k8s.io images import "$image"; done
export NODE_NAME=${own.name} NODE_IP=${own.ip} POD_CIDR=${own.pods} CLUSTER_POD_CIDR=${CLUSTER_PODS} \\
  PEERS=${other.pods}=${other.ip} API_SERVER=${CONTROL_PLANE} TOKEN=${TOKEN.id}.${TOKEN.secret} \\
  CA_FILE=/vmtest/ca.crt SANDBOX_IMAGE=deckhand.local/pause:1
export DEB="$(ls /vmtest/package/*.deb)"
sh -eu /vmtest/lab/worker.sh
`;
        await runAt(place, ['sh', '-euc', script]);
      };
      await Promise.all([join('here', here, there), join('there', there, here)]);
      await waitFor(
        'both machines to be Ready',
        async () => {
          const { items } = await api.read<{ items: Node[] }>('/api/v1/nodes');
          return (
            items.length === 2 &&
            items.every(({ status }) =>
              status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
            )
          );
        },
        SLOWLY,
      );
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      const kubeconfig = readFileSync('/etc/kubernetes/kubelet.conf', 'utf8');
      must(kubeconfig.includes('kubelet-client-current.pem'), 'its kubeconfig shows no certificate of its own');
      return `Ready ${seconds} s after worker.sh began, each with a certificate of its own`;
    },
  },
  {
    title: 'pods of one machine reach those of the other, with their own addresses',
    limitMs: LIMIT_MS,
    always: true,
    run: async () => {
      await apply(
        ...(['here', 'there'] as const).flatMap((place, index) => [
          podOf(`web-${index + 1}`, place, true),
          podOf(clients[place], place, false),
        ]),
        serviceOf('here', { place: 'here' }, 30_001),
        serviceOf('there', { place: 'there' }, 30_002),
        serviceOf('web', { app: 'web' }, 30_003),
        serviceOf('local', { place: 'there' }, 30_004, { externalTrafficPolicy: 'Local' }),
      );
      const began = performance.now();
      await ready('web-1', 'web-2', ...Object.values(clients));
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      const parts: string[] = [];
      for (const [place, name] of [
        ['here', 'web-2'],
        ['there', 'web-1'],
      ] as const) {
        const ip = (await podNamed(name)).status?.podIP ?? '';
        const own = (await podNamed(clients[place])).status?.podIP ?? '';
        parts.push(
          answeredBy(`${own} → ${ip}, which sees`, await askFromPod(place, `http://${ip}:8080/cgi-bin/client`), own),
        );
      }
      return `Ready after ${seconds} s; ${parts.join('; ')}`;
    },
  },
  {
    title: 'mode nftables: Services across the cable',
    limitMs: LIMIT_MS,
    run: acrossHolds,
  },
  {
    title: 'a Service keeps a pod’s address; node ports show the machine’s, and policy Local the client’s',
    limitMs: LIMIT_MS,
    run: async () => {
      const far = await clusterIP('there');
      const own = (await podNamed(clients.here)).status?.podIP ?? '';
      const parts = [
        answeredBy('by the cluster IP', await askFromPod('here', `http://${far}/cgi-bin/client`, 20), own),
        answeredBy(
          'by the other machine’s node port',
          await askFromMachine('there', `http://${here.ip}:30002/cgi-bin/client`, 20),
          here.ip,
        ),
        answeredBy(
          'by policy Local',
          await askFromMachine('here', `http://${there.ip}:30004/cgi-bin/client`, 20),
          here.ip,
        ),
      ];
      const refused = await runThere([
        'sh',
        '-c',
        `timeout 5 busybox wget -q -O - http://${here.ip}:30004/ || echo none`,
      ]);
      must(refused.trim() === 'none', `policy Local answered on the machine without an endpoint: ${refused}`);
      return `${parts.join('; ')}; without an endpoint there no answer`;
    },
  },
  {
    title: 'an endpoint on the other machine goes and comes again while clients ask: nothing is lost',
    limitMs: LIMIT_MS,
    run: async () => {
      const load = new Load(`http://${await clusterIP('web')}/`, 50);
      await kubectl('delete', 'pod', 'web-2', '--wait=false');
      await waitFor(
        'it to go',
        async () =>
          await podNamed('web-2').then(
            () => false,
            (error: Error) => error.message.includes(' 404 '),
          ),
        SLOWLY,
      );
      const alone = load.count;
      await apply(podOf('web-2', 'there', true));
      await ready('web-2');
      await waitFor(
        'it to answer',
        async () => (await get(`http://${await clusterIP('web')}/`)).trim() === 'web-2',
        SLOWLY,
      );
      await load.stop();
      must(load.failures.length === 0, `${load.failures.length} of ${load.count} failed: ${load.failures[0]}`);
      return `${load.count} requests (${alone} until it was gone), none failed`;
    },
  },
  {
    title: 'deckhand restarts on the other machine, and the API is away: nothing is lost',
    limitMs: LIMIT_MS,
    run: async () => {
      const load = new Load(`http://${await clusterIP('there')}/`, 50);
      await runThere(['systemctl', 'restart', 'deckhand']);
      const restarted = load.count;
      await run('systemctl', 'stop', 'control-plane');
      await pause(20_000);
      const away = load.count;
      await startControlPlane();
      await waitFor('the API', () => api.text('/api/v1/nodes'), SLOWLY);
      await load.stop();
      must(load.failures.length === 0, `${load.failures.length} of ${load.count} failed: ${load.failures[0]}`);
      return `${load.count} requests, none failed (${restarted} over the restart, ${away - restarted} while the API was away)`;
    },
  },
  inMode('iptables'),
  inMode('ipvs'),
];
