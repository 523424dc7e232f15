import { dns1123LabelError, portNameErrors, portNumberError } from '../../model/names.ts';
import type { Container, ContainerPort, PodSpec, VolumeMount } from '../../model/pod.ts';
import type { FieldError } from '../port.ts';
import { validateEnv, validateEnvFileVolumes, validateEnvFrom } from './env.ts';
import { child, duplicate, forbidden, invalid, notFound, notSupported, required, tooMany } from './field-errors.ts';
import { ipErrors } from './ip-errors.ts';
import { localDescendingPathErrors } from './paths.ts';
import { type ProbeKind, validateLifecycle, validateProbe } from './probe.ts';
import { validateResourceRequirements } from './resource-requirements.ts';
import { validateSecurityContext } from './security-context.ts';

const PROBES: readonly ProbeKind[] = ['livenessProbe', 'readinessProbe', 'startupProbe'];

export type ContainerKind = 'container' | 'init' | 'ephemeral';

/** All containers of a pod: each one, and what they may not share (names, host ports). */
export function validateContainers(spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  if (spec.containers.length === 0) errors.push(required(child(path, 'containers')));
  const groups = [
    ['containers', 'container', spec.containers],
    ['initContainers', 'init', spec.initContainers ?? []],
    ['ephemeralContainers', 'ephemeral', spec.ephemeralContainers ?? []],
  ] as const;
  for (const [field, kind, containers] of groups) {
    for (const [index, container] of containers.entries()) {
      const at = `${path}.${field}[${index}]`;
      errors.push(...validateContainer(kind, container, spec, at));
      if (names.has(container.name)) errors.push(duplicate(child(at, 'name'), container.name));
      if (container.name) names.add(container.name);
    }
  }
  for (const [index, container] of (spec.ephemeralContainers ?? []).entries()) {
    const target = container.targetContainerName;
    if (target && ![...spec.containers, ...(spec.initContainers ?? [])].some(({ name }) => name === target)) {
      errors.push(notFound(`${path}.ephemeralContainers[${index}].targetContainerName`, target));
    }
  }
  const sidecars = (spec.initContainers ?? []).map((container) =>
    container.restartPolicy === 'Always' ? container : undefined,
  );
  return [
    ...errors,
    ...hostPortConflicts([
      ...spec.containers.map((container, index) => [container, `${path}.containers[${index}]`] as const),
      ...sidecars.flatMap((container, index) =>
        container ? [[container, `${path}.initContainers[${index}]`] as const] : [],
      ),
    ]),
  ];
}

function validateContainer(kind: ContainerKind, container: Container, spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!container.name) errors.push(required(child(path, 'name')));
  else {
    const error = dns1123LabelError(container.name);
    if (error !== undefined) errors.push(invalid(child(path, 'name'), container.name, error));
  }
  if (!container.image) errors.push(required(child(path, 'image')));
  else if (container.image.trim() !== container.image) {
    errors.push(invalid(child(path, 'image'), container.image, 'must not have leading or trailing whitespace'));
  }
  const graceSeconds = spec.terminationGracePeriodSeconds ?? 30;
  const claims = new Set((spec.resourceClaims as { name: string }[] | undefined)?.map(({ name }) => name));
  errors.push(
    ...restartErrors(kind, container, path),
    ...portErrors(container.ports, spec.hostNetwork === true, child(path, 'ports')),
    ...validateEnv(container.env, child(path, 'env')),
    ...validateEnvFileVolumes(container.env, spec.volumes, child(path, 'env')),
    ...validateEnvFrom(container.envFrom, child(path, 'envFrom')),
    ...mountErrors(container, spec, path),
    ...validateResourceRequirements(container.resources, child(path, 'resources'), claims),
    ...resizeErrors(kind, container, spec, path),
    ...validateSecurityContext(container.securityContext, child(path, 'securityContext'), spec.hostUsers),
  );
  if (!container.terminationMessagePolicy) errors.push(required(child(path, 'terminationMessagePolicy')));
  if (!container.imagePullPolicy) errors.push(required(child(path, 'imagePullPolicy')));
  if (kind === 'ephemeral') {
    const excluded = ['ports', 'lifecycle', 'resizePolicy', 'restartPolicyRules', ...PROBES] as const;
    for (const name of excluded) {
      if (container[name] !== undefined) {
        errors.push(forbidden(child(path, name), 'cannot be set for an Ephemeral Container'));
      }
    }
    if (Object.keys(container.resources ?? {}).length > 0) {
      errors.push(forbidden(child(path, 'resources'), 'cannot be set for an Ephemeral Container'));
    }
    // Mounts of parts of volumes are undone with the pod only, while these come and go.
    for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
      for (const name of ['subPath', 'subPathExpr'] as const) {
        if (!mount[name]) continue;
        errors.push(forbidden(`${path}.volumeMounts[${index}].${name}`, 'cannot be set for an Ephemeral Container'));
      }
    }
    return errors;
  }
  const restartable = kind === 'init' && container.restartPolicy === 'Always';
  if (kind === 'init' && !restartable) {
    for (const name of ['lifecycle', ...PROBES] as const) {
      if (container[name] !== undefined) {
        const detail = 'may not be set for init containers without restartPolicy=Always';
        errors.push(forbidden(child(path, name), detail));
      }
    }
    return errors;
  }
  errors.push(...validateLifecycle(container.lifecycle, child(path, 'lifecycle'), graceSeconds));
  for (const name of PROBES) errors.push(...validateProbe(name, container[name], child(path, name)));
  return errors;
}

/** restartPolicy and restartPolicyRules of one container (KEP-753, KEP-5307). */
function restartErrors(kind: ContainerKind, container: Container, path: string): FieldError[] {
  const at = child(path, 'restartPolicy');
  const rules = container.restartPolicyRules;
  if (kind === 'ephemeral') {
    return container.restartPolicy ? [forbidden(at, 'cannot be set for an Ephemeral Container')] : [];
  }
  if (rules === undefined || rules.length === 0) return [];
  const errors: FieldError[] = [];
  const rulesPath = child(path, 'restartPolicyRules');
  if (!container.restartPolicy) {
    errors.push(required(at, 'must specify restartPolicy when restart rules are used'));
  }
  if (rules.length > 20) errors.push(tooMany(rulesPath, rules.length, 20));
  for (const [index, rule] of rules.entries()) {
    const { exitCodes } = rule as { exitCodes?: { operator?: string; values?: number[] } };
    const rulePath = `${rulesPath}[${index}]`;
    if (exitCodes === undefined) errors.push(required(child(rulePath, 'exitCodes'), 'must be specified'));
    else if ((exitCodes.values ?? []).length > 255) {
      errors.push(tooMany(`${rulePath}.exitCodes.values`, exitCodes.values?.length ?? 0, 255));
    }
  }
  return errors;
}

function portErrors(ports: readonly ContainerPort[] | undefined, hostNetwork: boolean, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, port] of (ports ?? []).entries()) {
    const at = `${path}[${index}]`;
    if (port.name) {
      const nameErrors = portNameErrors(port.name);
      for (const detail of nameErrors) errors.push(invalid(child(at, 'name'), port.name, detail));
      if (nameErrors.length === 0 && names.has(port.name)) errors.push(duplicate(child(at, 'name'), port.name));
      names.add(port.name);
    }
    if (!port.containerPort) errors.push(required(child(at, 'containerPort')));
    else {
      const error = portNumberError(port.containerPort);
      if (error !== undefined) errors.push(invalid(child(at, 'containerPort'), port.containerPort, error));
    }
    if (port.hostPort) {
      const error = portNumberError(port.hostPort);
      if (error !== undefined) errors.push(invalid(child(at, 'hostPort'), port.hostPort, error));
      if (hostNetwork && port.containerPort && port.hostPort !== port.containerPort) {
        errors.push(
          invalid(child(at, 'containerPort'), port.containerPort, 'must match `hostPort` when `hostNetwork` is true'),
        );
      }
    }
    if (port.hostIP) errors.push(...ipErrors(child(at, 'hostIP'), port.hostIP));
    if (!port.protocol) errors.push(required(child(at, 'protocol')));
  }
  return errors;
}

function hostPortConflicts(containers: readonly (readonly [Container, string])[]): FieldError[] {
  const errors: FieldError[] = [];
  const taken = new Set<string>();
  for (const [container, path] of containers) {
    for (const [index, port] of (container.ports ?? []).entries()) {
      if (!port.hostPort) continue;
      const key = `${port.protocol ?? 'TCP'}/${port.hostIP ?? ''}/${port.hostPort}`;
      if (taken.has(key)) errors.push(duplicate(`${path}.ports[${index}].hostPort`, key));
      taken.add(key);
    }
  }
  return errors;
}

function mountErrors(container: Container, spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const volumes = new Set(spec.volumes?.map(({ name }) => name));
  const paths = new Set<string>();
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${path}.volumeMounts[${index}]`;
    if (!mount.name) errors.push(required(child(at, 'name')));
    else if (!volumes.has(mount.name)) errors.push(notFound(child(at, 'name'), mount.name));
    if (!mount.mountPath) errors.push(required(child(at, 'mountPath')));
    else if (paths.has(mount.mountPath))
      errors.push(invalid(child(at, 'mountPath'), mount.mountPath, 'must be unique'));
    paths.add(mount.mountPath);
    errors.push(...subPathErrors(mount, at), ...propagationErrors(mount, container, at));
  }
  for (const [index, device] of (container.volumeDevices ?? []).entries()) {
    const at = `${path}.volumeDevices[${index}]`;
    if (!device.name) errors.push(required(child(at, 'name')));
    else if (!volumes.has(device.name)) errors.push(notFound(child(at, 'name'), device.name));
    if (!device.devicePath) errors.push(required(child(at, 'devicePath')));
    else if (paths.has(device.devicePath))
      errors.push(invalid(child(at, 'devicePath'), device.devicePath, 'must be unique'));
    paths.add(device.devicePath);
  }
  return errors;
}

function subPathErrors(mount: VolumeMount, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (mount.subPath) errors.push(...localDescendingPathErrors(mount.subPath, child(path, 'subPath')));
  if (!mount.subPathExpr) return errors;
  if (mount.subPath)
    errors.push(
      invalid(child(path, 'subPathExpr'), mount.subPathExpr, 'subPathExpr and subPath are mutually exclusive'),
    );
  return [...errors, ...localDescendingPathErrors(mount.subPathExpr, child(path, 'subPathExpr'))];
}

function propagationErrors(mount: VolumeMount, container: Container, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (mount.mountPropagation === 'Bidirectional' && container.securityContext?.privileged !== true) {
    const detail = 'Bidirectional mount propagation is available only to privileged containers';
    errors.push(forbidden(child(path, 'mountPropagation'), detail));
  }
  const mode = mount.recursiveReadOnly;
  if (mode !== undefined && mode !== 'Disabled') {
    const at = child(path, 'recursiveReadOnly');
    if (mount.readOnly !== true) errors.push(forbidden(at, 'may only be specified when readOnly is true'));
    if (mount.mountPropagation !== undefined && mount.mountPropagation !== 'None') {
      errors.push(forbidden(at, 'may only be specified when mountPropagation is None or not specified'));
    }
  }
  return errors;
}

/** validateResizePolicy; an init container runs once, so there is nothing to restart for a resize. */
function resizeErrors(kind: ContainerKind, container: Container, spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  const policies = child(path, 'resizePolicy');
  for (const [index, { resourceName, restartPolicy }] of (container.resizePolicy ?? []).entries()) {
    if (seen.has(resourceName)) errors.push(duplicate(`${policies}[${index}]`, resourceName));
    seen.add(resourceName);
    if (!resourceName) errors.push(required(policies));
    else if (resourceName !== 'cpu' && resourceName !== 'memory') {
      errors.push(notSupported(policies, resourceName, ['cpu', 'memory']));
    }
    if (!restartPolicy) errors.push(required(policies));
    else if (restartPolicy !== 'NotRequired' && restartPolicy !== 'RestartContainer') {
      errors.push(notSupported(policies, restartPolicy, ['NotRequired', 'RestartContainer']));
    }
    if (spec.restartPolicy === 'Never' && restartPolicy !== 'NotRequired') {
      const detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
      errors.push(invalid(policies, restartPolicy ?? '', detail));
    }
    if (kind === 'init' && container.restartPolicy !== 'Always' && restartPolicy === 'RestartContainer') {
      const detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
      errors.push(invalid(`${policies}[${index}].restartPolicy`, restartPolicy, detail));
    }
  }
  return errors;
}
