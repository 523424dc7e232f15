/** A manifest with one mistake, and what deckhand must say of it. */
export interface Mistake {
  readonly file: string;
  readonly text: string;
  /** Absent where the text cannot be read as far as an object. */
  readonly object?: string;
  readonly field?: string;
  /** What was expected, in the message. */
  readonly expects: RegExp;
}

const meta = (name: string): string => `apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${name}\n`;
const image = 'image: deckhand.local/busybox:1';

/** A pod named like its file whose spec is `spec`, indented by two. */
function pod(name: string, spec: string, field: string, expects: RegExp): Mistake {
  return { file: `${name}.yaml`, text: `${meta(name)}spec:\n${spec}\n`, object: `Pod default/${name}`, field, expects };
}

/** A pod with one container that has `more` beside its name and image. */
function container(name: string, more: string, field: string, expects: RegExp): Mistake {
  const lines = more
    .split('\n')
    .map((line) => `      ${line}`)
    .join('\n');
  const spec = `  containers:\n    - name: main\n      ${image}\n${lines}`;
  return pod(name, spec, `spec.containers[0]${field === '' ? '' : `.${field}`}`, expects);
}

function object(kind: string, name: string, rest: string, field: string, expects: RegExp, apiVersion = 'v1'): Mistake {
  const text = `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata:\n  name: ${name}\n${rest}\n`;
  return { file: `${name}.yaml`, text, object: `${kind} default/${name}`, field, expects };
}

const good = `  containers:\n    - name: main\n      ${image}`;

/** Each is another kind of mistake. */
export const mistakes: readonly Mistake[] = [
  // The text.
  { file: 'bad-indent.yaml', text: 'apiVersion: v1\nkind: Pod\n metadata:\n  name: x\n', expects: /./ },
  { file: 'twice.yaml', text: `${meta('twice')}spec:\n${good}\nkind: Pod\n`, expects: /unique/i },
  { file: 'scalar.yaml', text: 'just words\n', expects: /an object with apiVersion, kind and metadata/ },
  { file: 'broken.json', text: '{"apiVersion": "v1", "kind": "Pod", ', expects: /./ },
  // The object.
  {
    file: 'no-kind.yaml',
    text: `apiVersion: v1\nmetadata:\n  name: no-kind\nspec:\n${good}\n`,
    object: 'object no-kind',
    field: 'kind',
    expects: /Required value/,
  },
  {
    file: 'wrong-kind.yaml',
    text: `apiVersion: v1\nkind: Pood\nmetadata:\n  name: wrong-kind\nspec:\n${good}\n`,
    object: 'Pood wrong-kind',
    field: 'kind',
    expects: /did you mean "Pod"/,
  },
  {
    file: 'wrong-version.yaml',
    text: `apiVersion: apps/v1\nkind: Pod\nmetadata:\n  name: wrong-version\nspec:\n${good}\n`,
    object: 'Pod wrong-version',
    field: 'apiVersion',
    expects: /"v1"/,
  },
  {
    file: 'no-name.yaml',
    text: `apiVersion: v1\nkind: Pod\nmetadata: {}\nspec:\n${good}\n`,
    field: 'metadata.name',
    expects: /Required value/,
  },
  {
    file: 'bad-name.yaml',
    text: `${meta('Bad_Name')}spec:\n${good}\n`,
    object: 'Pod default/Bad_Name',
    field: 'metadata.name',
    expects: /lower case alphanumeric/i,
  },
  {
    file: 'bad-label.yaml',
    text: `apiVersion: v1\nkind: Pod\nmetadata:\n  name: bad-label\n  labels:\n    app: "-x-"\nspec:\n${good}\n`,
    object: 'Pod default/bad-label',
    field: 'metadata.labels[app]',
    expects: /valid label/,
  },
  {
    file: 'label-number.yaml',
    text: `apiVersion: v1\nkind: Pod\nmetadata:\n  name: label-number\n  labels:\n    app: 5\nspec:\n${good}\n`,
    object: 'Pod default/label-number',
    field: 'metadata.labels[app]',
    expects: /must be a string.*quotes/,
  },
  // A pod.
  pod('no-containers', '  containers: []', 'spec.containers', /Required value/),
  pod('unknown-field', `${good}\n  restartPolcy: Never`, 'spec.restartPolcy', /did you mean "restartPolicy"/),
  pod('bad-restart', `${good}\n  restartPolicy: Sometimes`, 'spec.restartPolicy', /"Always", "Never", "OnFailure"/),
  pod('bad-dns', `${good}\n  dnsPolicy: Whatever`, 'spec.dnsPolicy', /"ClusterFirst"/),
  pod('dns-none', `${good}\n  dnsPolicy: None`, 'spec.dnsConfig', /must provide `dnsConfig`/),
  pod('bad-deadline', `${good}\n  activeDeadlineSeconds: 0`, 'spec.activeDeadlineSeconds', /between 1 and 2147483647/),
  pod('text-deadline', `${good}\n  activeDeadlineSeconds: soon`, 'spec.activeDeadlineSeconds', /whole number/),
  pod('same-names', `${good}\n    - name: main\n      ${image}`, 'spec.containers[1].name', /Duplicate value/),
  pod(
    'two-sources',
    `${good}\n  volumes:\n    - name: v\n      emptyDir: {}\n      hostPath: {path: /tmp}`,
    'spec.volumes[0].hostPath',
    /may not specify more than 1 volume type/,
  ),
  pod(
    'same-volumes',
    `${good}\n  volumes:\n    - {name: v, emptyDir: {}}\n    - {name: v, emptyDir: {}}`,
    'spec.volumes[1].name',
    /Duplicate/,
  ),
  pod(
    'host-dots',
    `${good}\n  volumes:\n    - {name: v, hostPath: {path: /a/../b}}`,
    'spec.volumes[0].hostPath.path',
    /'\.\.'/,
  ),
  pod('containers-map', '  containers:\n    name: main', 'spec.containers', /list|array/),
  // A container.
  { ...pod('no-image', '  containers:\n    - name: main', 'spec.containers[0].image', /Required value/) },
  container('bad-policy', 'imagePullPolicy: Often', 'imagePullPolicy', /"Always".*"IfNotPresent".*"Never"/),
  container('bad-port', 'ports: [{containerPort: 70000}]', 'ports[0].containerPort', /between 1 and 65535/),
  container(
    'bad-protocol',
    'ports: [{containerPort: 80, protocol: ICMP}]',
    'ports[0].protocol',
    /"SCTP", "TCP", "UDP"|"TCP"/,
  ),
  container('bad-env', 'env: [{name: "a=b", value: x}]', 'env[0].name', /environment variable/i),
  container('env-number', 'env: [{name: A, value: 5}]', 'env[0].value', /must be a string/),
  container(
    'env-both',
    'env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]',
    'env[0].valueFrom',
    /may not be specified when `?value`? is not empty/,
  ),
  container(
    'bad-field-path',
    'env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.nmae}}}]',
    'env[0].valueFrom.fieldRef.fieldPath',
    /metadata\.name/,
  ),
  container('bad-quantity', 'resources: {limits: {memory: 64Megs}}', 'resources.limits[memory]', /quantit/i),
  container(
    'above-limit',
    'resources: {requests: {cpu: "2"}, limits: {cpu: "1"}}',
    'resources.requests',
    /less than or equal to cpu limit/,
  ),
  container('unknown-resource', 'resources: {limits: {mem: 64Mi}}', 'resources.limits[mem]', /standard resource/),
  container(
    'no-such-volume',
    'volumeMounts: [{name: none, mountPath: /x}]',
    'volumeMounts[0].name',
    /Not found: "none"/,
  ),
  container('no-handler', 'livenessProbe: {periodSeconds: 5}', 'livenessProbe', /must specify a handler type/),
  container(
    'bad-period',
    'livenessProbe: {periodSeconds: -1, exec: {command: ["true"]}}',
    'livenessProbe.periodSeconds',
    /greater than or equal to 0/,
  ),
  container(
    'bad-success',
    'livenessProbe: {successThreshold: 2, exec: {command: ["true"]}}',
    'livenessProbe.successThreshold',
    /must be 1/,
  ),
  container(
    'bad-probe-port',
    'readinessProbe: {httpGet: {port: http-with-a-very-long-name}}',
    'readinessProbe.httpGet.port',
    /15/,
  ),
  container('bad-capability', 'securityContext: {runAsUser: -5}', 'securityContext.runAsUser', /between 0 and/),
  // Other kinds.
  object('Service', 'no-ports', 'spec:\n  selector: {app: x}', 'spec.ports', /Required value/),
  object(
    'Service',
    'bad-node-port',
    'spec:\n  type: NodePort\n  ports: [{port: 80, nodePort: 80}]',
    'spec.ports[0].nodePort',
    /30000-32767/,
  ),
  object('Service', 'bad-service-port', 'spec:\n  ports: [{port: 0}]', 'spec.ports[0].port', /between 1 and 65535/),
  object(
    'Service',
    'bad-cluster-ip',
    'spec:\n  clusterIP: 10.99.0.1\n  ports: [{port: 80}]',
    'spec.clusterIPs',
    /10\.96\.0\.0\/16/,
  ),
  object('ConfigMap', 'bad-key', 'data:\n  "a/b": x', 'data[a/b]', /valid config key/),
  object('ConfigMap', 'number-data', 'data:\n  a: 5', 'data[a]', /must be a string/),
  object('Secret', 'bad-base64', 'data:\n  a: "***"', 'data[a]', /base64/i),
];
