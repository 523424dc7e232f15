/** What differs between nodes; everything else follows from it. */
export interface ContainerdConfigOptions {
  /** The config's own format: 2 for containerd 1.x, 3 for 2.x. */
  readonly version: 2 | 3;
  readonly root: string;
  readonly state: string;
  readonly socket: string;
  readonly cniConfDir: string;
  readonly sandboxImage: string;
  /** runc's own state folder. */
  readonly runcRoot: string;
}

const CNI_PLUGINS = '/usr/lib/cni';

/**
 * containerd's config file. Scores below the daemon's own cannot be set without CAP_SYS_RESOURCE, hence
 * restrict_oom_score_adj. Pod network namespaces are mounted below the state folder, so that they can be told apart
 * from those of another containerd.
 */
export function containerdConfig(options: ContainerdConfigOptions): string {
  const quoted = (text: string): string => JSON.stringify(text);
  const runtimes = (plugin: string): string => `
  [plugins.${plugin}.containerd]
    ${options.version === 2 ? 'snapshotter = "overlayfs"' : 'default_runtime_name = "runc"'}
    [plugins.${plugin}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.${plugin}.containerd.runtimes.runc.options]
        Root = ${quoted(options.runcRoot)}
        SystemdCgroup = false
    [plugins.${plugin}.containerd.runtimes.test-handler]
      runtime_type = "io.containerd.runc.v2"
      [plugins.${plugin}.containerd.runtimes.test-handler.options]
        Root = ${quoted(options.runcRoot)}
        SystemdCgroup = false`;
  const head = `version = ${options.version}
root = ${quoted(options.root)}
state = ${quoted(options.state)}
[grpc]
  address = ${quoted(options.socket)}
[ttrpc]
  address = ${quoted(`${options.socket}.ttrpc`)}
[plugins."io.containerd.internal.v1.opt"]
  path = ${quoted(`${options.root}/opt`)}`;
  if (options.version === 2) {
    const cri = '"io.containerd.grpc.v1.cri"';
    return `${head}
[plugins.${cri}]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  stream_server_address = "127.0.0.1"
  sandbox_image = ${quoted(options.sandboxImage)}${runtimes(cri)}
  [plugins.${cri}.cni]
    bin_dir = ${quoted(CNI_PLUGINS)}
    conf_dir = ${quoted(options.cniConfDir)}
`;
  }
  const runtime = "'io.containerd.cri.v1.runtime'";
  return `${head}
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = ${quoted(options.sandboxImage)}
[plugins.'io.containerd.grpc.v1.cri']
  stream_server_address = "127.0.0.1"
[plugins.${runtime}]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true${runtimes(runtime)}
  [plugins.${runtime}.cni]
    bin_dir = ${quoted(CNI_PLUGINS)}
    conf_dir = ${quoted(options.cniConfDir)}
`;
}

/**
 * A bridge with hairpin (a pod reaches itself through its Service) and host-local addresses. `network` names what CNI
 * remembers of each sandbox, in a folder that all containerds share.
 */
export function bridgeConflist(options: {
  network: string;
  bridge: string;
  subnet: string;
  ipamDir: string;
  mtu?: number;
}): string {
  return JSON.stringify(
    {
      cniVersion: '0.4.0',
      name: options.network,
      plugins: [
        {
          type: 'bridge',
          bridge: options.bridge,
          isGateway: true,
          ipMasq: false,
          hairpinMode: true,
          ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
          ipam: {
            type: 'host-local',
            dataDir: options.ipamDir,
            ranges: [[{ subnet: options.subnet }]],
            routes: [{ dst: '0.0.0.0/0' }],
          },
        },
        { type: 'portmap', capabilities: { portMappings: true } },
      ],
    },
    undefined,
    1,
  );
}
