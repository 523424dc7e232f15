import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { certificateRequest } from '../../src/model/x509/write-request.ts';
import { TestClient } from '../unit/standalone/api-client.ts';
import { NODE_NAME, startEmbeddedApi } from '../unit/standalone/embedded-api.ts';

const KUBECTL = '/usr/bin/kubectl';
const missing = existsSync(KUBECTL) ? undefined : `${KUBECTL} is not installed`;

const POD = `
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  nodeName: ${NODE_NAME}
  containers:
  - name: main
    image: busybox:1
    ports: [{containerPort: 80}]
    env: [{name: A, value: "1"}]
    resources: {limits: {cpu: 500m, memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 80}]
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data: {color: blue, size: large}
`;

describe.skipIf(missing !== undefined)(
  `a stock kubectl${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let server: Awaited<ReturnType<typeof startEmbeddedApi>>;
    let client: TestClient;
    let folder: string;
    const children: ChildProcess[] = [];

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'dhapi-kubectl-'));
      server = await startEmbeddedApi();
      client = await TestClient.fromKubeconfig(server.api.kubeconfigPath);
      await client.post('/api/v1/nodes', {
        metadata: { name: NODE_NAME },
        status: { conditions: [{ type: 'Ready', status: 'True' }], nodeInfo: { kubeletVersion: 'v1.34.0' } },
      });
    });

    afterAll(async () => {
      for (const child of children) child.kill('SIGKILL');
      client?.close();
      await server?.close();
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    });

    function start(
      args: readonly string[],
      input?: string,
    ): { child: ChildProcess; output: () => string; done: Promise<number> } {
      const child = spawn(KUBECTL, ['--cache-dir', join(folder, 'cache'), ...args], {
        env: { PATH: process.env['PATH'], HOME: folder, KUBECONFIG: server.api.kubeconfigPath },
      });
      children.push(child);
      let text = '';
      child.stdout.on('data', (data) => {
        text += data;
      });
      child.stderr.on('data', (data) => {
        text += data;
      });
      child.stdin.end(input ?? '');
      const done = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? -1)));
      return { child, output: () => text, done };
    }

    async function kubectl(command: string, input?: string, wanted = 0): Promise<string> {
      const { output, done } = start(command.split(' '), input);
      expect(await done, `kubectl ${command}\n${output()}`).toBe(wanted);
      return output();
    }

    /** Stands in for the node agent: says that the pod runs. */
    async function report(phase: string, ready: boolean): Promise<void> {
      const since = '2026-01-01T00:00:00Z';
      const status = {
        phase,
        podIP: '10.0.0.9',
        podIPs: [{ ip: '10.0.0.9' }],
        conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: since }],
        containerStatuses: [
          {
            name: 'main',
            ready,
            started: true,
            restartCount: 0,
            image: 'busybox:1',
            imageID: 'x',
            state: { running: { startedAt: since } },
          },
        ],
      };
      const answer = await client.patch('/api/v1/namespaces/default/pods/web/status', 'strategic', { status });
      expect(answer.code, answer.text).toBe(200);
    }

    it('applies, applies again without a change, and applies a change (client side)', async () => {
      expect(await kubectl('apply -f -', POD)).toBe(
        'pod/web created\nservice/web created\nconfigmap/settings created\n',
      );
      expect(await kubectl('apply -f -', POD)).toBe(
        'pod/web unchanged\nservice/web unchanged\nconfigmap/settings unchanged\n',
      );
      const changed = POD.replace('busybox:1', 'busybox:2')
        .replace(', size: large', '')
        .replace('port: 80, targetPort: 80', 'port: 81, targetPort: 80');
      expect(await kubectl('apply -f -', changed)).toBe(
        'pod/web configured\nservice/web configured\nconfigmap/settings configured\n',
      );
      expect(await kubectl('get pod web -o jsonpath={.spec.containers[*].image}')).toBe('busybox:2');
      expect(await kubectl('get cm settings -o jsonpath={.data}')).toBe('{"color":"blue"}');
      expect(await kubectl('get svc web -o jsonpath={.spec.ports[*].port}')).toBe('81');
      expect(await kubectl('diff -f -', changed)).toBe('');
      expect(await kubectl('diff -f -', POD, 1)).toContain('-    image: busybox:2\n+    image: busybox:1');
    });

    it('applies on the server side, and shows conflicts', async () => {
      const map = (value: string): string =>
        `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":{"a":"${value}"}}`;
      expect(await kubectl('apply --server-side -f -', map('1'))).toBe('configmap/ssa serverside-applied\n');
      const conflict = await kubectl('apply --server-side --field-manager=other -f -', map('2'), 1);
      expect(conflict).toContain('Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.a');
      expect(await kubectl('apply --server-side --force-conflicts --field-manager=other -f -', map('2'))).toContain(
        'serverside-applied',
      );
      expect(await kubectl('get cm ssa -o jsonpath={.data.a}')).toBe('2');
      // From client-side to server-side on the same object.
      expect(
        await kubectl(
          'apply --server-side -f -',
          POD.replace('busybox:1', 'busybox:3').replace('port: 80, t', 'port: 81, t'),
        ),
      ).toContain('pod/web serverside-applied');
      expect(await kubectl('get pod web -o jsonpath={.spec.containers[*].image}')).toBe('busybox:3');
    });

    it('names mistakes', async () => {
      const typo = await kubectl('apply -f -', POD.replace('containers:', 'contaners:'), 1);
      expect(typo).toContain('unknown field "spec.contaners"');
      const invalid = await kubectl('create -f -', POD.replace('name: main', 'name: Main!'), 1);
      expect(invalid).toContain('spec.containers[0].name: Invalid value');
      expect(await kubectl('get pod nobody', '', 1)).toBe('Error from server (NotFound): pods "nobody" not found\n');
      expect(await kubectl('get widgets', '', 1)).toContain('the server doesn\'t have a resource type "widgets"');
    });

    it('gets, describes and explains', async () => {
      await report('Running', true);
      expect(await kubectl('get pods')).toMatch(/^NAME +READY +STATUS +RESTARTS +AGE\nweb +1\/1 +Running +0 +\d+s\n$/);
      expect(await kubectl('get pods -o wide')).toMatch(
        /NOMINATED NODE +READINESS GATES\nweb .* 10\.0\.0\.9 +node-1 +<none> +<none>\n/,
      );
      expect(await kubectl('get all')).toMatch(/pod\/web .*\n(?:.*\n)*service\/web +NodePort/);
      expect(await kubectl('get pods -A -l app=web --field-selector=status.phase=Running -o name')).toBe('pod/web\n');
      expect(await kubectl('get po,svc,cm,sa,no,ns,ev,pv,pvc,pc,leases,endpointslices -A')).toContain(
        'namespace/kube-system',
      );
      expect(await kubectl('get pods --sort-by=.metadata.name')).toContain('web');
      expect(await kubectl('get cm --chunk-size=1 -o name')).toBe(
        'configmap/kube-root-ca.crt\nconfigmap/settings\nconfigmap/ssa\n',
      );
      expect(await kubectl('get pod web -o yaml')).toContain('qosClass: Guaranteed');
      await client.post('/api/v1/namespaces/default/events', {
        metadata: { name: 'web.1' },
        involvedObject: { kind: 'Pod', namespace: 'default', name: 'web' },
        type: 'Normal',
        reason: 'Pulled',
        message: 'it is here',
        count: 1,
        firstTimestamp: '2026-01-01T00:00:00Z',
        lastTimestamp: '2026-01-01T00:00:00Z',
      });
      const pod = await kubectl('describe pod web');
      expect(pod).toMatch(/Status: +Running\nIP: +10\.0\.0\.9/);
      expect(await kubectl('get events')).toMatch(/Normal +Pulled +pod\/web +it is here/);
      const service = await kubectl('describe svc web');
      expect(service).toMatch(/NodePort: +<unset> +3\d{4}\/TCP\nEndpoints: +10\.0\.0\.9:80/);
      expect(await kubectl(`describe node ${NODE_NAME}`)).toMatch(/Non-terminated Pods: +\(1 in total\)/);
      expect(await kubectl('describe ns default')).toContain('Active');
      expect(await kubectl('explain pod.spec.containers.ports')).toContain('containerPort\t<integer> -required-');
      expect(await kubectl('api-resources -o name')).toContain('endpointslices.discovery.k8s.io');
      expect(await kubectl('version')).toContain('Server Version: v1.34');
    });

    it('creates with its own commands, whose bodies are protobuf', async () => {
      expect(await kubectl('create ns made')).toBe('namespace/made created\n');
      expect(await kubectl('create cm made --from-literal=a=b')).toBe('configmap/made created\n');
      expect(await kubectl('create secret generic made --from-literal=a=b')).toBe('secret/made created\n');
      expect(await kubectl('get secret made -o jsonpath={.data.a}')).toBe('Yg==');
      expect(await kubectl('create sa made')).toBe('serviceaccount/made created\n');
      expect(await kubectl('create token made --duration=20m')).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
      expect(await kubectl('create service nodeport made --tcp=80:http')).toBe('service/made created\n');
      expect(await kubectl('get svc made -o jsonpath={.spec.ports[0].targetPort}')).toBe('http');
      expect(await kubectl('create priorityclass made --value=-5')).toContain('created');
      expect(await kubectl('get pc made -o jsonpath={.value}')).toBe('-5');
      expect(await kubectl('run made --image=busybox')).toBe('pod/made created\n');
      expect(await kubectl('expose pod made --port=80 --name=exposed')).toContain('exposed');
      expect(await kubectl('create cm dry --dry-run=server -o name')).toBe('configmap/dry\n');
      expect(await kubectl('get cm dry', '', 1)).toContain('NotFound');
      expect(await kubectl('auth can-i delete pods')).toBe('yes\n');
      expect(await kubectl('auth can-i delete pods --as=jane', '', 1)).toContain('no');
      expect(await kubectl('auth whoami')).toContain('kubernetes-admin');
    });

    it('labels, annotates, patches, replaces and edits', async () => {
      expect(await kubectl('label pod web tier=front')).toContain('labeled');
      expect(await kubectl('label pod web tier-')).toContain('unlabeled');
      expect(await kubectl('annotate cm settings note=x')).toContain('annotated');
      expect(await kubectl('patch cm settings --type=merge -p {"data":{"a":"1"}}')).toContain('patched');
      expect(await kubectl('patch cm settings --type=json -p [{"op":"remove","path":"/data/a"}]')).toContain('patched');
      expect(
        await kubectl('patch pod web --subresource=status --type=merge -p {"status":{"message":"hello"}}'),
      ).toContain('patched');
      expect(await kubectl('get pod web -o jsonpath={.status.message}')).toBe('hello');
      const current = await kubectl('get cm settings -o json');
      expect(await kubectl('replace -f -', current.replace('"blue"', '"red"'))).toContain('replaced');
      expect(await kubectl('replace -f -', current, 1)).toContain('the object has been modified');
      expect(await kubectl(`cordon ${NODE_NAME}`)).toContain('cordoned');
      expect(await kubectl('get nodes')).toContain('Ready,SchedulingDisabled');
      expect(await kubectl(`uncordon ${NODE_NAME}`)).toContain('uncordoned');
      expect(await kubectl(`taint node ${NODE_NAME} a=b:NoSchedule`)).toContain('tainted');
      expect(await kubectl(`taint node ${NODE_NAME} a=b:NoSchedule-`)).toContain('untainted');
      await writeFile(join(folder, 'editor.sh'), '#!/bin/sh\nsed -i s/red/green/ "$1"\n', { mode: 0o755 });
      const child = spawn(KUBECTL, ['--cache-dir', join(folder, 'cache'), 'edit', 'cm', 'settings'], {
        env: {
          PATH: process.env['PATH'],
          HOME: folder,
          KUBECONFIG: server.api.kubeconfigPath,
          KUBE_EDITOR: join(folder, 'editor.sh'),
        },
      });
      expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
      expect(await kubectl('get cm settings -o jsonpath={.data.color}')).toBe('green');
    });

    it('watches and waits', async () => {
      await report('Running', false);
      const watching = start(['get', 'pods', 'web', '-w']);
      await expect.poll(watching.output, { timeout: 10_000 }).toContain('0/1');
      const waiting = start(['wait', '--for=condition=Ready', 'pod/web', '--timeout=20s']);
      const field = start(['wait', '--for=jsonpath={.status.phase}=Succeeded', 'pod/web', '--timeout=20s']);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await report('Running', true);
      expect(await waiting.done, waiting.output()).toBe(0);
      await expect.poll(watching.output, { timeout: 5_000 }).toMatch(/web +0\/1 +Running.*\nweb +1\/1 +Running/);
      expect(watching.output().match(/NAME/g)).toHaveLength(1);
      await report('Succeeded', false);
      expect(await field.done, field.output()).toBe(0);
      watching.child.kill();
    });

    it('lists, approves and denies certificate signing requests', async () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const names = { commonName: 'jane', organizations: ['dev'], dnsNames: [], ipAddresses: [] };
      const request = Buffer.from(certificateRequest(names, privateKey)).toString('base64');
      const spec = { request, signerName: 'kubernetes.io/kube-apiserver-client', usages: ['client auth'] };
      for (const name of ['jane', 'jack']) {
        const csr = {
          apiVersion: 'certificates.k8s.io/v1',
          kind: 'CertificateSigningRequest',
          metadata: { name },
          spec,
        };
        await kubectl('create -f -', JSON.stringify(csr));
      }
      expect(await kubectl('get csr')).toMatch(
        /^NAME +AGE +SIGNERNAME +REQUESTOR +REQUESTEDDURATION +CONDITION\njack .* kubernetes-admin +<none> +Pending\njane/,
      );
      expect(await kubectl('certificate approve jane')).toContain('jane approved');
      expect(await kubectl('certificate deny jack')).toContain('jack denied');
      await expect.poll(() => kubectl('get csr jane')).toContain('Approved,Issued');
      expect(await kubectl('get csr jack')).toContain('Denied');
      const issued = await kubectl('get csr jane -o jsonpath={.status.certificate}');
      expect(new X509Certificate(Buffer.from(issued, 'base64')).checkPrivateKey(privateKey)).toBe(true);
      expect(await kubectl('delete csr jane jack')).toContain('deleted');
    });

    it('deletes with grace, and waits until the node agent is done', async () => {
      await kubectl('run slow --image=busybox');
      const deleting = start(['delete', 'pod', 'slow', '--grace-period=20']);
      await expect.poll(() => kubectl('get pods slow'), { timeout: 10_000 }).toContain('Terminating');
      const { body } = await client.get('/api/v1/namespaces/default/pods/slow');
      expect(body.metadata.deletionGracePeriodSeconds).toBe(20);
      expect(deleting.child.exitCode).toBeNull();
      await client.delete('/api/v1/namespaces/default/pods/slow', { gracePeriodSeconds: 0 });
      expect(await deleting.done, deleting.output()).toBe(0);
      expect(await kubectl('delete pod made --now --wait=false')).toContain('deleted');
      expect(await kubectl('delete pod made --force --grace-period=0')).toContain('force deleted');
      expect(await kubectl('delete svc made exposed')).toContain('deleted');
      expect(await kubectl('delete ns made')).toBe('namespace "made" deleted\n');
      expect(await kubectl('delete -f - --force --grace-period=0', POD)).toContain(
        'configmap "settings" force deleted',
      );
      expect(await kubectl('delete pod web --ignore-not-found')).toBe('');
      expect(await kubectl('get pods')).toBe('No resources found in default namespace.\n');
    });
  },
);
