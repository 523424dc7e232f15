/** What a panel of a dashboard asks Prometheus for, of one endpoint of a node. */
export interface PanelQuery {
  readonly panel: string;
  readonly endpoint: '/metrics' | '/metrics/cadvisor' | '/metrics/resource' | '/metrics/probes' | '10249/metrics';
  readonly metric: string;
  /** Labels that the query groups or selects by, each with what its value must match. */
  readonly labels?: Readonly<Record<string, RegExp>>;
  /** There may be no sample of it on a node where nothing goes wrong. */
  readonly mayBeEmpty?: true;
  /** Not every kernel counts what cgroups read and write. */
  readonly ofDisks?: true;
}

const some = /./;
const of = (endpoint: PanelQuery['endpoint']) => {
  return (panel: string, metric: string, labels: PanelQuery['labels'] = {}, more: object = {}): PanelQuery => ({
    panel,
    endpoint,
    metric,
    labels,
    ...more,
  });
};
const own = of('/metrics');
const cadvisor = of('/metrics/cadvisor');
const proxy = of('10249/metrics');
const operation = { operation_type: some };
const container = { namespace: /^default$/, pod: /^busy$/, container: /^main$/, image: some };
const pod = { namespace: /^default$/, pod: /^web$/, interface: /^eth0$/ };
/** kubernetes-mixin's diskDeviceSelector and containerfsSelector */
const disk = {
  device: /^((\/dev.+)|mmcblk.p.+|nvme.+|rbd.+|sd.+|vd.+|xvd.+|dm-.+|dasd.+)$/,
  container: some,
  namespace: some,
  pod: some,
};

/**
 * "Kubernetes / Kubelet" of kubernetes-mixin. Not here: kubelet_node_config_error and storage_operation_errors_total, which
 * kubelet 1.36 does not have either, and go_goroutines, which only programs in Go have.
 */
const KUBELET: readonly PanelQuery[] = [
  own('Running Kubelets', 'kubelet_node_name', { node: /^node-1$/ }),
  own('Running Pods', 'kubelet_running_pods'),
  own('Running Containers', 'kubelet_running_containers', { container_state: some }),
  own('Actual Volume Count', 'volume_manager_total_volumes', { state: /^actual_state_of_world$/ }),
  own('Desired Volume Count', 'volume_manager_total_volumes', { state: /^desired_state_of_world$/ }),
  own('Operation Rate', 'kubelet_runtime_operations_total', operation),
  own('Operation Error Rate', 'kubelet_runtime_operations_errors_total', operation, { mayBeEmpty: true }),
  own('Operation Duration', 'kubelet_runtime_operations_duration_seconds_bucket', { ...operation, le: some }),
  own('Pod Start Rate', 'kubelet_pod_start_duration_seconds_count'),
  own('Pod Start Rate', 'kubelet_pod_worker_duration_seconds_count', operation),
  own('Pod Start Duration', 'kubelet_pod_start_duration_seconds_bucket', { le: some }),
  own('Pod Start Duration', 'kubelet_pod_worker_duration_seconds_bucket', { ...operation, le: some }),
  own('Storage Operation Rate', 'storage_operation_duration_seconds_count', {
    operation_name: some,
    volume_plugin: some,
  }),
  own('Storage Operation Duration', 'storage_operation_duration_seconds_bucket', {
    operation_name: some,
    volume_plugin: some,
    le: some,
  }),
  own('Cgroup manager operation rate', 'kubelet_cgroup_manager_duration_seconds_count', operation),
  own('Cgroup manager 99th quantile', 'kubelet_cgroup_manager_duration_seconds_bucket', { ...operation, le: some }),
  own('PLEG relist rate', 'kubelet_pleg_relist_duration_seconds_count'),
  own('PLEG relist interval', 'kubelet_pleg_relist_interval_seconds_bucket', { le: some }),
  own('PLEG relist duration', 'kubelet_pleg_relist_duration_seconds_bucket', { le: some }),
  own('RPC rate', 'rest_client_requests_total', { code: /^2..$/ }),
  own('Request duration', 'rest_client_request_duration_seconds_bucket', { verb: some, le: some }),
  own('Memory', 'process_resident_memory_bytes'),
  own('CPU usage', 'process_cpu_seconds_total'),
];

/** "Compute Resources / Pod", "/ Namespace (Pods)" and "/ Node (Pods)". */
const COMPUTE: readonly PanelQuery[] = [
  cadvisor('CPU Usage', 'container_cpu_usage_seconds_total', container),
  cadvisor('CPU Throttling', 'container_cpu_cfs_throttled_periods_total', container),
  cadvisor('CPU Throttling', 'container_cpu_cfs_periods_total', container),
  cadvisor('Memory Usage (WSS)', 'container_memory_working_set_bytes', container),
  cadvisor('Memory Usage (RSS)', 'container_memory_rss', container),
  cadvisor('Memory Usage (Cache)', 'container_memory_cache', container),
  cadvisor('Memory Usage (Swap)', 'container_memory_swap', container),
  cadvisor('IOPS (Pod)', 'container_fs_reads_total', disk, { ofDisks: true }),
  cadvisor('IOPS (Pod)', 'container_fs_writes_total', disk, { ofDisks: true }),
  cadvisor('ThroughPut (Pod)', 'container_fs_reads_bytes_total', disk, { ofDisks: true }),
  cadvisor('ThroughPut (Pod)', 'container_fs_writes_bytes_total', disk, { ofDisks: true }),
  ...(['receive', 'transmit'] as const).flatMap((way) => [
    cadvisor(`Networking / Pod: Current Rate of Bytes, ${way}`, `container_network_${way}_bytes_total`, pod),
    cadvisor(`Rate of ${way} Packets`, `container_network_${way}_packets_total`, pod),
    cadvisor(`Rate of ${way} Packets Dropped`, `container_network_${way}_packets_dropped_total`, pod),
  ]),
];

/** "Kubernetes / Proxy" */
const PROXY: readonly PanelQuery[] = [
  proxy('Rules Sync Rate', 'kubeproxy_sync_proxy_rules_duration_seconds_count'),
  proxy('Rule Sync Latency', 'kubeproxy_sync_proxy_rules_duration_seconds_bucket', { le: some }),
  proxy('Network Programming Rate', 'kubeproxy_network_programming_duration_seconds_count'),
  proxy('Network Programming Latency', 'kubeproxy_network_programming_duration_seconds_bucket', { le: some }),
  proxy('Kube API Request Rate', 'rest_client_requests_total', { code: /^2..$/ }),
  proxy('Post Request Latency', 'rest_client_request_duration_seconds_bucket', { verb: /^POST$/, le: some }),
  proxy('Get Request Latency', 'rest_client_request_duration_seconds_bucket', { verb: /^GET$/, le: some }),
  proxy('Memory', 'process_resident_memory_bytes'),
  proxy('CPU usage', 'process_cpu_seconds_total'),
];

/** What alerts of kubernetes-mixin and others look at. */
const ALERTS: readonly PanelQuery[] = [
  own('KubeletPodStartUpLatencyHigh', 'kubelet_pod_worker_duration_seconds_bucket', { ...operation, le: some }),
  own('pod startup SLI', 'kubelet_pod_start_sli_duration_seconds_bucket', { le: some }),
  own('pod startup', 'kubelet_pod_start_total_duration_seconds_count'),
  own('pods by lifecycle', 'kubelet_working_pods', { lifecycle: some, config: some, static: /^(true|unknown|)$/ }),
  own('pods wanted', 'kubelet_desired_pods', { static: /^(true|)$/ }),
  own('pods that hold resources', 'kubelet_active_pods', { static: /^(true|)$/ }),
  own('evictions', 'kubelet_evictions', {}, { mayBeEmpty: true }),
  own('preemptions', 'kubelet_preemptions', {}, { mayBeEmpty: true }),
  own('images', 'kubelet_image_pull_duration_seconds', {}, { mayBeEmpty: true }),
  own('images', 'kubelet_image_manager_ensure_image_requests_total', { pull_policy: some, pull_required: some }),
  own('images', 'kubelet_imagemanager_image_mustpull_checks_total', {}, { mayBeEmpty: true }),
  own('images', 'kubelet_imagemanager_ondisk_pullintents'),
  own('images', 'kubelet_imagemanager_ondisk_pulledrecords'),
  cadvisor('OOM kills', 'container_oom_events_total', container),
  cadvisor('machine', 'machine_cpu_cores'),
  cadvisor('machine', 'machine_memory_bytes'),
  of('/metrics/probes')('probes', 'prober_probe_total', { pod: /^web$/, result: some, probe_type: some }),
  of('/metrics/probes')('probes', 'prober_probe_duration_seconds_bucket', { pod: /^web$/, le: some }),
];

export const PANELS: readonly PanelQuery[] = [...KUBELET, ...COMPUTE, ...PROXY, ...ALERTS];
