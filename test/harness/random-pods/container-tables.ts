import type { Container, EnvVar, LifecycleHandler, Probe, ResourceRequirements } from '../../../src/model/pod.ts';
import { BUSYBOX_IMAGE, WEB_IMAGE } from '../images.ts';
import { CONFIG_MAP, SECRET } from './volume-tables.ts';

const script = (text: string): Partial<Container> => ({ image: BUSYBOX_IMAGE, command: ['sh', '-c', text] });

/** Runs until it is told to stop. */
export const STAYS = script("trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done");

/** What app containers do. Nothing of it can harm the host, whatever rights it has. */
export const BEHAVIOURS: readonly Partial<Container>[] = [
  STAYS,
  STAYS,
  STAYS,
  STAYS,
  { image: WEB_IMAGE, ports: [{ name: 'http', containerPort: 8080 }] },
  script("echo out; echo err >&2; echo last > /dev/termination-log; trap 'exit 0' TERM; sleep 1000 & wait $!"),
  script("trap '' TERM; while :; do sleep 1; done"),
  script('exit 0'),
  script('echo bye; exit 3'),
  script('exit 137'),
  {
    image: BUSYBOX_IMAGE,
    command: ['sh'],
    args: ['-c', 'echo $0 "$(NAME)" $$(NAME) $(ABSENT); exec sleep 1000', 'me'],
  },
];

/** What init containers do. */
export const CHORES: readonly Partial<Container>[] = [script('true'), script('true'), script('echo chore; exit 0')];

export const ENVIRONMENT: readonly EnvVar[] = [
  { name: 'PLAIN', value: 'value' },
  { name: 'EMPTY' },
  { name: 'EXPANDED', value: '$(NAME)-$(PLAIN)-$$(NAME)-$(ABSENT)' },
  { name: 'with.dots-and-dashes', value: 'x' },
  ...[
    'metadata.name',
    'metadata.uid',
    'spec.nodeName',
    'spec.serviceAccountName',
    'status.hostIP',
    'status.podIPs',
  ].map(
    (fieldPath, index): EnvVar => ({ name: `FIELD${index}`, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } }),
  ),
  { name: 'LABEL', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: "metadata.labels['random']" } } },
  { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } } },
  { name: 'OTHER', valueFrom: { resourceFieldRef: { containerName: 'c0', resource: 'requests.memory' } } },
  { name: 'FROM_MAP', valueFrom: { configMapKeyRef: { name: CONFIG_MAP, key: 'a' } } },
  { name: 'FROM_SECRET', valueFrom: { secretKeyRef: { name: SECRET, key: 'a' } } },
  { name: 'MAYBE', valueFrom: { configMapKeyRef: { name: 'absent', key: 'a', optional: true } } },
  { name: 'MAYBE_SECRET', valueFrom: { secretKeyRef: { name: SECRET, key: 'absent', optional: true } } },
];

export const RESOURCES: readonly ResourceRequirements[] = [
  { requests: { cpu: '1m' } },
  { requests: { memory: '1Mi' }, limits: { memory: '32Mi' } },
  { limits: { cpu: '500m', memory: '64Mi' } },
  { requests: { cpu: '10m', memory: '8Mi', 'ephemeral-storage': '1Mi' }, limits: { 'ephemeral-storage': '1Gi' } },
  { limits: { cpu: '0.05' } },
];

/** What a probe does; some of it fails. */
export const PROBES: readonly Probe[] = [
  { exec: { command: ['true'] } },
  { exec: { command: ['true'] } },
  { exec: { command: ['true'] } },
  { exec: { command: ['false'] } },
  { exec: { command: ['sleep', '5'] } },
  { exec: { command: ['/no/such/program'] } },
  { httpGet: { path: '/', port: 8080, scheme: 'HTTP', httpHeaders: [{ name: 'X-Random', value: 'pod' }] } },
  { httpGet: { path: '/', port: 'http', scheme: 'HTTPS', host: '127.0.0.1' } },
  { tcpSocket: { port: 8080, host: '127.0.0.1' } },
  { tcpSocket: { port: 8080 } },
  { grpc: { port: 9000, service: 'some' } },
];

/** A postStart hook that hangs would leave nothing to be told of its pod; before a stop, its grace ends it. */
export const LAST_HOOKS: readonly LifecycleHandler[] = [{ exec: { command: ['sleep', '600'] } }];

export const HOOKS: readonly LifecycleHandler[] = [
  { exec: { command: ['true'] } },
  { exec: { command: ['true'] } },
  { exec: { command: ['true'] } },
  { exec: { command: ['false'] } },
  { sleep: { seconds: 0 } },
  { sleep: { seconds: 1 } },
  { httpGet: { path: '/', port: 8080, scheme: 'HTTPS', host: '127.0.0.1', httpHeaders: [{ name: 'X', value: 'y' }] } },
  { tcpSocket: { port: 8080, host: '127.0.0.1' } },
];

/** Whatever else a container may say of itself; each is put into one container of a pod. */
export const ODD_CONTAINERS: readonly (Partial<Container> & object)[] = [
  { image: '127.0.0.1:5999/none:1', imagePullPolicy: 'Always' },
  { image: '127.0.0.1:5999/none:1', imagePullPolicy: 'IfNotPresent' },
  { image: 'deckhand.local/absent:1', imagePullPolicy: 'Never' },
  { image: 'UPPER/Case:?' },
  { command: ['/no/such/program'] },
  { command: ['/etc/passwd'] },
  { workingDir: '/made/for/this' },
  { workingDir: '/etc/passwd' },
  { terminationMessagePath: '/tmp/last-words', terminationMessagePolicy: 'FallbackToLogsOnError' },
  { terminationMessagePath: 'relative', terminationMessagePolicy: 'File' },
  { stdin: true, stdinOnce: true, tty: true },
  { resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }] },
  { restartPolicy: 'OnFailure' },
  { restartPolicy: 'Never', restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [3] } }] },
  {
    restartPolicy: 'Never',
    restartPolicyRules: [{ action: 'RestartAllContainers', exitCodes: { operator: 'NotIn', values: [0] } }],
  },
  { envFrom: [{ prefix: 'P_', configMapRef: { name: CONFIG_MAP } }, { secretRef: { name: SECRET } }] },
  {
    envFrom: [{ configMapRef: { name: 'absent', optional: true } }, { secretRef: { name: 'absent', optional: true } }],
  },
  { envFrom: [{ configMapRef: { name: 'absent' } }] },
  { envFrom: [{ secretRef: { name: 'absent' } }] },
  { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: SECRET, key: 'absent' } } }] },
  {
    env: [
      { name: 'A', valueFrom: { fileKeyRef: { volumeName: 'v0', path: 'env', key: 'A', optional: true } } },
    ] as EnvVar[],
  },
  { env: [{ name: 'LONG', value: 'x'.repeat(100_000) }] },
  { env: [{ name: 'TOO_LONG', value: 'x'.repeat(140_000) }] },
  { ports: [{ containerPort: 80, protocol: 'SCTP' }] },
  { ports: [{ containerPort: 53, hostPort: 31_053, protocol: 'UDP', hostIP: '192.0.2.1' }] },
  { ports: [{ name: 'taken', containerPort: 80, hostPort: 31_080 }] },
  { resources: { limits: { memory: '1Mi' } } },
  { resources: { limits: { memory: '4Mi' } } },
  { resources: { limits: { memory: '1' } } },
  { resources: { requests: { cpu: '100' } } },
  { resources: { requests: { memory: '10Ti' } } },
  { resources: { requests: { 'ephemeral-storage': '1Pi' } } },
  { resources: { limits: { 'example.com/none': '1' } } },
  { resources: { limits: { cpu: '1m', memory: '16Mi', 'hugepages-2Mi': '2Mi' } } },
  { resources: { limits: { cpu: '0', memory: '0' } } },
  { volumeDevices: [{ name: 'v0', devicePath: '/dev/random-block' }] },
  ...[
    { runAsUser: 1000, runAsGroup: 2000 },
    { runAsNonRoot: true },
    { runAsNonRoot: true, runAsUser: 1000 },
    { runAsNonRoot: true, runAsUser: 0 },
    { privileged: true },
    {
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    { capabilities: { add: ['NET_ADMIN', 'CAP_SYS_TIME'], drop: ['KILL'] } },
    { capabilities: { add: ['ALL'] } },
    { capabilities: { add: ['NO_SUCH'] } },
    { procMount: 'Default' as const },
    { procMount: 'Unmasked' as const },
    { seccompProfile: { type: 'RuntimeDefault' as const } },
    { seccompProfile: { type: 'Unconfined' as const } },
    { seccompProfile: { type: 'Localhost' as const, localhostProfile: 'absent.json' } },
    { appArmorProfile: { type: 'Unconfined' as const } },
    { appArmorProfile: { type: 'RuntimeDefault' as const } },
    { appArmorProfile: { type: 'Localhost' as const, localhostProfile: 'absent' } },
    { seLinuxOptions: { user: 'u', role: 'r', type: 't', level: 's0' } },
    { windowsOptions: { runAsUserName: 'nobody', hostProcess: false } },
  ].map((securityContext) => ({ securityContext })),
];
