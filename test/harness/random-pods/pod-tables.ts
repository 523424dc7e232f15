/** What a pod as a whole may ask for; each is merged into the spec, securityContext field by field. */
export const ODD_PODS: readonly { readonly [field: string]: unknown; readonly securityContext?: object }[] = [
  { restartPolicy: 'OnFailure' },
  { restartPolicy: 'Never' },
  { terminationGracePeriodSeconds: 0 },
  { activeDeadlineSeconds: 1 },
  { activeDeadlineSeconds: 86_400 },
  { automountServiceAccountToken: true },
  { automountServiceAccountToken: false, enableServiceLinks: false },
  { serviceAccountName: 'absent' },
  { hostNetwork: true },
  { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' },
  { hostPID: true },
  { hostIPC: true },
  { shareProcessNamespace: true },
  { hostUsers: false },
  { hostUsers: true },
  { hostname: 'other', subdomain: 'sub' },
  { hostname: 'other', subdomain: 'sub', setHostnameAsFQDN: true },
  { subdomain: `s${'u'.repeat(60)}b`, setHostnameAsFQDN: true },
  { hostnameOverride: 'overridden.example' },
  { hostAliases: [{ ip: '192.0.2.9', hostnames: ['db', 'db.example'] }, { ip: '2001:db8::9' }] },
  { dnsPolicy: 'Default' },
  { dnsPolicy: 'ClusterFirst', dnsConfig: { searches: ['example.com', '_tcp.example.com.'] } },
  {
    dnsPolicy: 'None',
    dnsConfig: {
      nameservers: ['192.0.2.53', '2001:db8::53'],
      searches: ['a.example', '.'],
      options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
    },
  },
  { dnsConfig: { searches: Array.from({ length: 32 }, (_, index) => `zone-${index}.example`) } },
  { nodeName: 'node-1' },
  { nodeName: 'node-1', nodeSelector: { 'kubernetes.io/hostname': 'another' } },
  { nodeSelector: { 'kubernetes.io/os': 'linux' } },
  { nodeSelector: { 'kubernetes.io/arch': 'another' } },
  {
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            {
              matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['node-1'] }],
              matchFields: [{ key: 'metadata.name', operator: 'In', values: ['node-1'] }],
            },
          ],
        },
        preferredDuringSchedulingIgnoredDuringExecution: [
          { weight: 7, preference: { matchExpressions: [{ key: 'a', operator: 'DoesNotExist' }] } },
        ],
      },
    },
  },
  {
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'absent', operator: 'Exists' }] }],
        },
      },
    },
  },
  ...(['podAffinity', 'podAntiAffinity'] as const).map((kind) => {
    const podAffinityTerm = {
      topologyKey: 'kubernetes.io/hostname',
      labelSelector: { matchLabels: { random: 'no' } },
      namespaces: ['default'],
      namespaceSelector: { matchExpressions: [{ key: 'a', operator: 'Exists' }] },
      matchLabelKeys: ['a'],
      mismatchLabelKeys: ['b'],
    };
    return {
      affinity: {
        [kind]: {
          requiredDuringSchedulingIgnoredDuringExecution: [podAffinityTerm],
          preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, podAffinityTerm }],
        },
      },
    };
  }),
  {
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'kubernetes.io/hostname',
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector: { matchLabels: { random: 'yes' } },
        minDomains: 1,
        nodeAffinityPolicy: 'Honor',
        nodeTaintsPolicy: 'Ignore',
        matchLabelKeys: ['a'],
      },
    ],
  },
  {
    tolerations: [
      { operator: 'Exists' },
      { key: 'a', operator: 'Equal', value: 'b', effect: 'NoExecute', tolerationSeconds: 5 },
    ],
  },
  { tolerations: [{ key: 'a', operator: 'Gt', value: '5', effect: 'NoSchedule' }] },
  { priorityClassName: 'system-node-critical', preemptionPolicy: 'Never' },
  { priorityClassName: 'absent' },
  { priority: 0 },
  { readinessGates: [{ conditionType: 'example.com/never' }] },
  { runtimeClassName: 'test' },
  { runtimeClassName: 'absent' },
  { runtimeClassName: 'unknown-handler' },
  { overhead: { cpu: '1m' } },
  { schedulingGates: [{ name: 'example.com/closed' }] },
  { os: { name: 'linux' } },
  { os: { name: 'windows' } },
  { imagePullSecrets: [{ name: 'absent' }] },
  { resources: { requests: { cpu: '20m' }, limits: { cpu: '900m', memory: '200Mi' } } },
  { resources: { requests: { cpu: '100' } } },
  { resourceClaims: [{ name: 'claim', resourceClaimName: 'absent' }] },
  { resourceClaims: [{ name: 'claim', resourceClaimTemplateName: 'absent' }] },
  ...[
    { runAsUser: 1000, runAsGroup: 2000 },
    { runAsNonRoot: true },
    { supplementalGroups: [3000, 4000] },
    { supplementalGroupsPolicy: 'Merge', supplementalGroups: [3000] },
    { supplementalGroupsPolicy: 'Strict' },
    { fsGroup: 5000, fsGroupChangePolicy: 'Always' },
    { fsGroup: 5000, fsGroupChangePolicy: 'OnRootMismatch', runAsUser: 1000 },
    { seccompProfile: { type: 'RuntimeDefault' } },
    { seccompProfile: { type: 'Localhost', localhostProfile: 'absent.json' } },
    { appArmorProfile: { type: 'RuntimeDefault' } },
    { seLinuxOptions: { level: 's0:c1,c2' }, seLinuxChangePolicy: 'MountOption' },
    { windowsOptions: { gmsaCredentialSpecName: 'a', gmsaCredentialSpec: 'b' } },
    { sysctls: [{ name: 'kernel.shm_rmid_forced', value: '1' }] },
    {
      sysctls: [
        { name: 'net.ipv4.ip_local_port_range', value: '20000 40000' },
        { name: 'net/ipv4/tcp_syncookies', value: '1' },
      ],
    },
    { sysctls: [{ name: 'net.ipv4.ping_group_range', value: 'nonsense' }] },
    { sysctls: [{ name: 'kernel.msgmax', value: '65536' }] },
  ].map((securityContext) => ({ securityContext })),
];
