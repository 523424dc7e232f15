import { mkdirSync, writeFileSync } from 'node:fs';
import type { LinuxResources, PodSandboxConfig } from '../../../src/host/cri/port.ts';
import { RealCri } from '../../../src/host/cri/real.ts';
import { plainSecurity } from '../../harness/plain-security.ts';

/**
 * Starts a burstable pod with one container "main" as kubelet 1.36 does: its cgroups, folders, labels, annotations and
 * order of calls, written down here by themselves and not by deckhand's code. Returns the container's id.
 */
export async function startAsKubelet(given: {
  readonly name: string;
  readonly uid: string;
  readonly image: string;
  readonly command: readonly string[];
}): Promise<string> {
  const { name, uid, image, command } = given;
  const cri = new RealCri({ endpoint: 'unix:///run/containerd/containerd.sock' });
  try {
    const root = `/var/lib/kubelet/pods/${uid}`;
    for (const folder of ['volumes', 'plugins', 'containers/main']) mkdirSync(`${root}/${folder}`, { recursive: true });
    writeFileSync(`${root}/etc-hosts`, '# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n');
    const logDirectory = `/var/log/pods/default_${name}_${uid}`;
    mkdirSync(`${logDirectory}/main`, { recursive: true });
    const cgroupParent = `/kubepods/burstable/pod${uid}`;
    const group = `/sys/fs/cgroup${cgroupParent}`;
    mkdirSync(group, { recursive: true });
    // 100m: 102 shares, weight 4; the limit of all its containers.
    writeFileSync(`${group}/cpu.weight`, '4');
    writeFileSync(`${group}/memory.max`, String(64 * 1_048_576));
    const podLabels = {
      'io.kubernetes.pod.name': name,
      'io.kubernetes.pod.namespace': 'default',
      'io.kubernetes.pod.uid': uid,
    };
    const sandbox: PodSandboxConfig = {
      metadata: { name, uid, namespace: 'default', attempt: 0 },
      hostname: name,
      logDirectory,
      dnsConfig: { servers: [], searches: [], options: [] },
      portMappings: [],
      labels: podLabels,
      annotations: {
        'kubernetes.io/config.hash': uid,
        'kubernetes.io/config.seen': '2026-11-30T10:00:00.000000000Z',
        'kubernetes.io/config.source': 'file',
      },
      linux: {
        cgroupParent,
        namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' },
        resources: { cpuShares: 102, memoryLimitInBytes: 64 * 1_048_576 },
      },
    };
    const sandboxId = await cri.runPodSandbox(sandbox, '');
    const status = await cri.imageStatus(image);
    if (status === undefined) throw new Error(`${image} is not there`);
    const resources: LinuxResources = {
      cpuShares: 102,
      memoryLimitInBytes: 64 * 1_048_576,
      oomScoreAdj: 990,
      unified: { 'memory.oom.group': '1' },
    };
    const id = await cri.createContainer(
      sandboxId,
      {
        metadata: { name: 'main', attempt: 0 },
        image: status.id,
        userSpecifiedImage: image,
        command,
        args: [],
        workingDir: '',
        envs: [],
        mounts: [
          { containerPath: '/etc/hosts', hostPath: `${root}/etc-hosts`, readonly: false, propagation: 'PRIVATE' },
        ],
        devices: [],
        labels: { ...podLabels, 'io.kubernetes.container.name': 'main' },
        annotations: {
          // For this image and name: FNV-1a 32 of what go-spew's "%#v" makes of {"image":"deckhand.local/busybox:1","name":"main"}, computed apart from deckhand.
          'io.kubernetes.container.hash': '9790fbdd',
          'io.kubernetes.container.restartCount': '0',
          'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
          'io.kubernetes.container.terminationMessagePolicy': 'File',
          'io.kubernetes.pod.terminationGracePeriod': '20',
        },
        logPath: 'main/0.log',
        stdin: false,
        stdinOnce: false,
        tty: false,
        resources,
        security: plainSecurity,
      },
      sandbox,
    );
    await cri.startContainer(id);
    return id;
  } finally {
    cri.close();
  }
}
