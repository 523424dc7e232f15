/** A wrong manifest: what is in the file, and what its message must name. */
export interface Mistaken {
  readonly kind: string;
  readonly text: string | Uint8Array;
  readonly file?: string;
  /** Parts of the one-line message: the place, the object, the field, the expectation. */
  readonly says: readonly string[];
}

const pod = (name: string, rest: string): string =>
  `apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${name}\nspec:\n  containers:\n    - name: app\n      image: nginx:1\n${rest}`;
const service = (name: string, rest: string): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec:\n${rest}`;

/** One kind of mistake each; the key is the file's name without its extension. */
export const MISTAKEN: Readonly<Record<string, Mistaken>> = {
  'bad-indent': {
    kind: 'YAML indentation',
    text: 'apiVersion: v1\nkind: Pod\nmetadata:\n name: a\n   labels: {}\n',
    says: [':', 'document 1'],
  },
  tab: {
    kind: 'tab',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: a\n',
    says: ['tab.yaml:4', 'Tabs are not allowed as indentation'],
  },
  'duplicate-key': {
    kind: 'duplicate key',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: x\n  a: y\n',
    says: ['duplicate-key.yaml:6', 'Map keys must be unique'],
  },
  'open-quote': {
    kind: 'unclosed quote',
    text: 'apiVersion: v1\nkind: "ConfigMap\n',
    says: ['Missing closing "quote'],
  },
  'not-utf8': {
    kind: 'not UTF-8',
    text: new Uint8Array([97, 58, 32, 98, 10, 99, 58, 32, 0xff, 0xfe, 10]),
    says: ['not-utf8.yaml: is not UTF-8 text (first bad byte in line 2)'],
  },
  utf16: {
    kind: 'UTF-16',
    text: new Uint8Array([0xff, 0xfe, 97, 0, 58, 0]),
    says: ['is UTF-16 text, UTF-8 is expected'],
  },
  huge: { kind: 'huge file', text: `# ${'x'.repeat(3 * 1024 * 1024)}`, says: ['is larger than 3145728 bytes'] },
  bomb: {
    kind: 'anchor bomb',
    text: `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefgh'
      .split('')
      .map((name, index) => `${name}: &${name} [${Array(9).fill(`*${'abcdefg'[index]}`).join(',')}]`)
      .join('\n')}`,
    says: ['Excessive alias count'],
  },
  circle: {
    kind: 'circular anchor',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: a, labels: *m}\n',
    says: ['is nested more than 100 levels deep'],
  },
  'deep-nesting': { kind: 'deep nesting', text: `a: ${'['.repeat(4000)}`, says: ['document 1'] },
  scalar: {
    kind: 'no object',
    text: 'just text\n',
    says: ['scalar.yaml:1', 'an object with apiVersion, kind and metadata is expected'],
  },
  'no-version': {
    kind: 'no apiVersion',
    text: 'kind: Pod\nmetadata: {name: a}\n',
    says: ['Pod a', 'apiVersion', 'Required value'],
  },
  'no-kind': {
    kind: 'no kind',
    text: 'apiVersion: v1\nmetadata: {name: a}\n',
    says: ['kind', 'Required value: such as "Pod"'],
  },
  'kind-typo': {
    kind: 'misspelled kind',
    text: 'apiVersion: v1\nkind: Sevice\nmetadata: {name: a}\n',
    says: ['kind-typo.yaml:2', 'Unsupported value: "Sevice"', 'did you mean "Service"?'],
  },
  'unserved-kind': {
    kind: 'kind not served',
    text: 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n',
    says: ['Unsupported value: "Deployment" in version "apps/v1"', 'supported kinds: Namespace'],
  },
  'wrong-version': {
    kind: 'wrong apiVersion',
    text: 'apiVersion: v1\nkind: EndpointSlice\nmetadata: {name: a}\n',
    says: ['EndpointSlice has the apiVersion "discovery.k8s.io/v1"'],
  },
  'no-name': {
    kind: 'no name',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {labels: {a: b}}\n',
    says: ['metadata.name: Required value'],
  },
  'generate-name': {
    kind: 'generateName',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}\n',
    says: ['generateName is not enough'],
  },
  'bad-name': {
    kind: 'name syntax',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: My_Config}\n',
    says: ['ConfigMap default/My_Config', 'metadata.name', 'RFC 1123 subdomain'],
  },
  'metadata-text': {
    kind: 'metadata no object',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: a\n',
    says: ['metadata: Invalid value: "a": must be an object, not a string'],
  },
  'cluster-namespace': {
    kind: 'namespace on a cluster object',
    text: 'apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n',
    says: ['metadata.namespace: Forbidden: not allowed on this type'],
  },
  'list-items': {
    kind: 'list without items',
    text: 'apiVersion: v1\nkind: List\nitems: {}\n',
    says: ['items: must be a list'],
  },
  'list-item': {
    kind: 'mistake in a list',
    text: 'apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: ok-in-list}\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: in-list}\n    dat: {}\n',
    says: ['list-item.yaml:10', 'ConfigMap default/in-list', 'did you mean "data"?'],
  },
  'unknown-field': {
    kind: 'unknown field',
    text: pod('a', '      imagePullpolicy: Always\n'),
    says: [
      'unknown-field.yaml:9',
      'document 1',
      'Pod default/a',
      'spec.containers[0].imagePullpolicy',
      'did you mean "imagePullPolicy"?',
    ],
  },
  'second-document': {
    kind: 'mistake in the second document',
    text: `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ok-beside}\n---\n${pod('b', '      ports: [{containerPort: 99999}]\n')}`,
    says: [
      'second-document.yaml:13',
      'document 2',
      'spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535',
    ],
  },
  'wrong-type': {
    kind: 'wrong type',
    text: pod('a', '  terminationGracePeriodSeconds: soon\n'),
    says: ['spec.terminationGracePeriodSeconds: Invalid value: "soon": must be a whole number, not a string'],
  },
  'number-env': {
    kind: 'number for text',
    text: pod('a', '      env: [{name: A, value: 1}]\n'),
    says: ['spec.containers[0].env[0].value', 'must be a string, not a number; in YAML write it in quotes'],
  },
  'yes-label': {
    kind: 'yes is true',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {flag: yes}\n',
    says: ['data[flag]', 'must be a string, not a boolean; in YAML write it in quotes'],
  },
  enum: {
    kind: 'unknown value',
    text: pod('a', '  restartPolicy: always\n'),
    says: ['spec.restartPolicy: Unsupported value: "always"', 'did you mean "Always"?'],
  },
  quantity: {
    kind: 'quantity',
    text: pod('a', '      resources: {limits: {memory: 64MB}}\n'),
    says: ['spec.containers[0].resources.limits[memory]: Invalid value: "64MB"', 'such as 500m'],
  },
  'request-over-limit': {
    kind: 'request over limit',
    text: pod('a', '      resources: {requests: {cpu: 2}, limits: {cpu: 1}}\n'),
    says: ['must be less than or equal to cpu limit of 1'],
  },
  'no-image': {
    kind: 'no image',
    text: 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: app}]}\n',
    says: ['spec.containers[0].image: Required value'],
  },
  'no-containers': {
    kind: 'no containers',
    text: 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n',
    says: ['spec.containers: Required value'],
  },
  'duplicate-container': {
    kind: 'duplicate name',
    text: pod('a', '    - name: app\n      image: busybox\n'),
    says: ['duplicate-container.yaml:9', 'spec.containers[1].name: Duplicate value: "app"'],
  },
  'two-handlers': {
    kind: 'two probe handlers',
    text: pod('a', '      livenessProbe:\n        exec: {command: [ls]}\n        tcpSocket: {port: 80}\n'),
    says: ['spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type'],
  },
  'missing-volume': {
    kind: 'mount without volume',
    text: pod('a', '      volumeMounts: [{name: data, mountPath: /x}]\n'),
    says: ['spec.containers[0].volumeMounts[0].name: Not found: "data"'],
  },
  'env-name': {
    kind: 'env name',
    text: pod('a', '      env: [{name: "A=B", value: x}]\n'),
    says: ['spec.containers[0].env[0].name'],
  },
  label: {
    kind: 'label syntax',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {tier: "front end"}}\n',
    says: ['metadata.labels[tier]: Invalid value: "front end"'],
  },
  'service-no-ports': {
    kind: 'service without ports',
    text: service('a', '  selector: {a: b}\n'),
    says: ['Service default/a', 'spec.ports: Required value'],
  },
  'service-names': {
    kind: 'unnamed ports',
    text: service('a', '  ports: [{port: 1}, {port: 2, name: b}]\n'),
    says: ['spec.ports[0].name: Required value'],
  },
  'node-port-type': {
    kind: 'nodePort on ClusterIP',
    text: service('a', '  ports: [{port: 1, nodePort: 30001}]\n'),
    says: ["may not be used when `type` is 'ClusterIP'"],
  },
  'secret-data': {
    kind: 'not base64',
    text: 'apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {password: hunter-2}\n',
    says: ['data[password]', 'must be base64 text'],
  },
  'config-key': {
    kind: 'key syntax',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {"a/b": c}\n',
    says: ['data[a/b]: Invalid value: "a/b": a valid config key'],
  },
  selector: {
    kind: 'selector operator',
    text: 'apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec:\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Gi}}\n  selector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}\n',
    says: ['selector.matchExpressions[0].operator: Unsupported value: "Equals"'],
  },
  json: {
    kind: 'JSON',
    file: 'broken.json',
    text: '{"apiVersion": "v1",\n\t"kind": "ConfigMap" "metadata": {"name": "a"}}\n',
    says: ['broken.json:2'],
  },
  'zz-twin': {
    kind: 'the same object twice',
    text: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n',
    says: ['ConfigMap default/settings', 'Duplicate value: the same object is in good.yaml, document 1, line 1'],
  },
};

export const GOOD = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings, creationTimestamp: null, uid: exported}
data: {mode: "0644", date: "2024-01-01"}
---
# Nothing but a comment.
---
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {token: s3cret}
---
${pod('web', '  volumes: [{name: c, configMap: {name: settings, defaultMode: 0644}}]\n')}---
${service('web', '  selector: {app: web}\n  ports: [{port: 80}]\n')}`;

export const GOOD_JSON = JSON.stringify(
  {
    apiVersion: 'v1',
    kind: 'PodList',
    items: [{ metadata: { name: 'from-json', namespace: 'team' }, spec: { containers: [{ name: 'a', image: 'i' }] } }],
  },
  null,
  '\t',
);

export const GOOD_NAMESPACE = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n';

/** Everything that stands although the folder is full of mistakes. */
export const GOOD_OBJECTS = [
  'ConfigMap default/ok-beside',
  'ConfigMap default/ok-in-list',
  'ConfigMap default/settings',
  'Namespace team',
  'Pod default/web',
  'Pod team/from-json',
  'Secret default/token',
  'Service default/web',
];
