import { quantiles, type Dashboard, type Panel, type Query, type Unit } from './dashboard.ts';

const lines = (title: string, unit: Unit, queries: readonly Query[], more: Partial<Panel> = {}): Panel => ({
  ...{ title, kind: 'lines', unit, queries },
  ...more,
});
const rate = (selector: string): string => `rate(${selector}[$__rate_interval])`;

const ON_NODE = 'node=~"$node"';
const agent = (metric: string): string => `${metric}{job="loam-agent", ${ON_NODE}}`;
const ztunnel = (metric: string): string => `${metric}{job="loam-ztunnel", ${ON_NODE}}`;
const both = (metric: string): string => `${metric}{job=~"loam-(agent|ztunnel)", ${ON_NODE}}`;

/** What runs on each node: ztunnel, agent, and the kernel part. */
export const node: Dashboard = {
  uid: 'loam-node',
  title: 'Loam / Node',
  description: 'ztunnel, agent and kernel part of nodes.',
  variables: [
    { ...{ name: 'node', label: 'Node', multi: true }, query: 'label_values(istio_active_proxy_count_total, node)' },
  ],
  rows: [
    {
      title: 'Pods',
      panels: [
        lines('Pods that ztunnel serves', 'short', [
          { expr: `max by (node) (${ztunnel('istio_active_proxy_count_total')})`, legend: '{{node}}' },
          {
            expr: `max by (node) (${ztunnel('istio_pending_proxy_count_total')})`,
            legend: '{{node}} not yet',
          },
        ]),
        lines("Pods by the agent's state", 'short', [
          { expr: `sum by (node, state) (${agent('loam_agent_pods')})`, legend: '{{node}} {{state}}' },
        ]),
        lines('New pods held until they are in the mesh', 'short', [
          {
            expr: `sum by (node, outcome) (increase(${agent('loam_agent_pods_held_total')}[$__rate_interval]))`,
            legend: '{{node}} {{outcome}}',
          },
        ]),
        lines('How long each was held', 's', [
          {
            expr: `sum by (node) (${rate(agent('loam_agent_pods_held_seconds_total'))}) / sum by (node) (${rate(agent('loam_agent_pods_held_total'))})`,
            legend: '{{node}}',
          },
        ]),
      ],
    },
    {
      title: 'ztunnel',
      panels: [
        lines('Open connections', 'short', [
          { expr: `sum by (node, reporter) (${ztunnel('istio_tcp_sockets_open')})`, legend: '{{node}} {{reporter}}' },
        ]),
        lines('Pool: tunnels, and streams in them', 'short', [
          { expr: `sum by (node) (${ztunnel('loam_hbone_tunnels')})`, legend: '{{node}} tunnels' },
          { expr: `sum by (node) (${ztunnel('loam_hbone_streams')})`, legend: '{{node}} streams' },
        ]),
        lines('Connections refused before their ends were known', 'cps', [
          {
            expr: `sum by (node, reason) (${rate(ztunnel('loam_connections_refused_total'))})`,
            legend: '{{node}} {{reason}}',
          },
        ]),
        lines('Connections refused by egress rules', 'cps', [
          {
            expr: `sum by (node, reason, policy) (${rate(ztunnel('loam_egress_refused_total'))})`,
            legend: '{{node}} {{reason}} {{policy}}',
          },
        ]),
        lines('Longest blocking of the worker within a second', 's', [
          { expr: `max by (node) (${ztunnel('loam_worker_loop_delay_seconds')})`, legend: '{{node}}' },
        ]),
        lines('Heap of the worker', 'bytes', [
          { expr: `max by (node) (${ztunnel('loam_worker_heap_used_bytes')})`, legend: '{{node}}' },
          { expr: `max by (node) (${ztunnel('loam_worker_heap_limit_bytes')})`, legend: '{{node}} limit' },
        ]),
      ],
    },
    {
      title: 'Kernel part',
      panels: [
        lines('Connections, by what the programs did', 'cps', [
          {
            expr: `sum by (node, what) (${rate(agent('loam_agent_redirection_total'))}) > 0`,
            legend: '{{node}} {{what}}',
          },
        ]),
        lines('How full maps are', 'percentunit', [
          {
            expr: `max by (node, map) (${agent('loam_agent_map_entries')} / (${agent('loam_agent_map_capacity')} > 0))`,
            legend: '{{node}} {{map}}',
          },
        ]),
        lines('Packets that guards dropped', 'pps', [
          {
            expr: `sum by (node, namespace, pod, reason) (${rate(agent('loam_agent_guard_dropped_packets_total'))})`,
            legend: '{{namespace}}/{{pod}} {{reason}}',
          },
        ]),
        lines('Put back after somebody took it away', 'short', [
          {
            expr: `sum by (node, what) (increase(${agent('loam_agent_repairs_total')}[$__rate_interval]))`,
            legend: '{{node}} {{what}}',
          },
        ]),
        lines('Pods that are not guarded', 'short', [
          {
            expr: `count by (node, namespace, pod) (${agent('loam_agent_pod_guarded')} == 0 and on (job, instance, namespace, pod) ${agent('loam_agent_pod_guard_wanted')} == 1)`,
            legend: '{{namespace}}/{{pod}}',
          },
        ]),
        lines('Connections from before the mesh, in plaintext', 'short', [
          { expr: `sum by (node) (${agent('loam_agent_earlier_connections')})`, legend: '{{node}}' },
        ]),
      ],
    },
    {
      title: 'Processes',
      panels: [
        lines('CPU', 'short', [
          { expr: `sum by (job, node) (${rate(both('process_cpu_seconds_total'))})`, legend: '{{job}} {{node}}' },
        ]),
        lines('Memory', 'bytes', [
          { expr: `sum by (job, node) (${both('process_resident_memory_bytes')})`, legend: '{{job}} {{node}}' },
        ]),
        lines('Descriptors', 'short', [
          { expr: `sum by (job, node) (${both('process_open_fds')})`, legend: '{{job}} {{node}}' },
        ]),
        lines('Delay of the main event loop', 's', [
          { expr: `max by (job, node) (${both('nodejs_eventloop_lag_max_seconds')})`, legend: '{{job}} {{node}}' },
        ]),
      ],
    },
  ],
};

const controller = (metric: string): string => `${metric}{job="loam-controller"}`;
const OURS = 'job=~"loam-(agent|controller|waypoint|ztunnel)"';

/** Controllers, and what the others have of them. */
export const controlPlane: Dashboard = {
  uid: 'loam-control-plane',
  title: 'Loam / Control plane',
  description: 'Controllers, certificates, and the configuration on its way to ztunnels and waypoints.',
  variables: [],
  rows: [
    {
      title: 'Now',
      panels: [
        {
          ...{ title: 'Controllers', kind: 'figure', unit: 'short', width: 4 },
          queries: [{ expr: `sum(${controller('up')})` }],
        },
        {
          ...{ title: 'Leaders', kind: 'figure', unit: 'short', width: 4 },
          queries: [{ expr: `sum(${controller('loam_controller_leader')})` }],
        },
        {
          ...{ title: 'The authority lasts', kind: 'figure', unit: 's', width: 4 },
          queries: [{ expr: `min(${controller('loam_controller_authority_expiry_timestamp_seconds')}) - time()` }],
        },
        {
          ...{ title: 'The next certificate expires in', kind: 'figure', unit: 's', width: 4 },
          queries: [{ expr: 'min(loam_certificate_expiry_timestamp_seconds) - time()' }],
        },
        {
          ...{ title: 'Closed gates', kind: 'figure', unit: 'short', width: 4, bounds: [1, 3] },
          queries: [{ expr: `count(loam_ready{${OURS}} == 0) or vector(0)` }],
        },
        {
          ...{ title: 'Without a controller', kind: 'figure', unit: 'short', width: 4, bounds: [1, 2] },
          description: 'ztunnels and waypoints that have no connection to one: they go on with what they knew.',
          queries: [{ expr: 'count(loam_xds_connected == 0) or vector(0)' }],
        },
      ],
    },
    {
      title: 'Configuration',
      panels: [
        lines('Clients', 'short', [
          { expr: `sum by (kind) (${controller('loam_controller_xds_clients')})`, legend: '{{kind}}' },
        ]),
        lines('Responses sent', 'short', [
          { expr: `sum by (type) (${rate(controller('loam_controller_xds_pushes_total'))})`, legend: '{{type}}' },
        ]),
        lines('Responses refused', 'short', [
          {
            expr: `sum by (type) (increase(${controller('loam_controller_xds_refusals_total')}[$__rate_interval]))`,
            legend: 'controller: {{type}}',
          },
          {
            expr: 'sum by (kind) (increase(loam_waypoint_config_rejections_total[$__rate_interval]))',
            legend: 'waypoints: {{kind}}',
          },
        ]),
        lines(
          'Compiling the mesh',
          's',
          quantiles(`sum by (le) (${rate(controller('loam_controller_compile_seconds_bucket'))})`),
        ),
        lines('Generation', 'short', [{ expr: controller('loam_controller_generation'), legend: '{{instance}}' }]),
        lines('Ended connections to controllers', 'short', [
          {
            expr: 'sum by (job) (increase(istio_xds_connection_terminations_total[$__rate_interval]))',
            legend: '{{job}}',
          },
        ]),
      ],
    },
    {
      title: 'Certificates and the Kubernetes API',
      panels: [
        lines('Requests for certificates', 'reqps', [
          {
            expr: `sum by (result) (${rate(controller('loam_controller_certificate_requests_total'))})`,
            legend: '{{result}}',
          },
        ]),
        lines('Calls, by what their credentials proved', 'reqps', [
          {
            expr: `sum by (result) (${rate(controller('loam_controller_authentications_total'))})`,
            legend: '{{result}}',
          },
        ]),
        lines('Token reviews', 'reqps', [
          {
            expr: `sum by (result) (${rate(controller('loam_controller_token_reviews_total'))})`,
            legend: '{{result}}',
          },
        ]),
        lines('Writes', 'reqps', [
          {
            expr: `sum by (what, result) (${rate(controller('loam_controller_writes_total'))})`,
            legend: '{{what}} {{result}}',
          },
        ]),
      ],
    },
    {
      title: 'Waypoints',
      panels: [
        lines('Requests under way', 'short', [
          {
            expr: 'sum by (namespace, pod) (loam_waypoint_active_requests)',
            legend: '{{namespace}}/{{pod}}',
          },
        ]),
        lines('Longest blocking of a worker within a second', 's', [
          {
            expr: 'max by (namespace, pod) (loam_worker_loop_delay_seconds{job="loam-waypoint"})',
            legend: '{{namespace}}/{{pod}}',
          },
        ]),
        lines('Heap of the largest worker', 'bytes', [
          {
            expr: 'max by (namespace, pod) (loam_worker_heap_used_bytes{job="loam-waypoint"})',
            legend: '{{namespace}}/{{pod}}',
          },
        ]),
        lines('Spans and lines of the access log that were lost', 'short', [
          {
            expr: 'sum by (outcome) (increase(loam_waypoint_spans_total{outcome!="exported"}[$__rate_interval]))',
            legend: 'spans {{outcome}}',
          },
          { expr: 'sum(increase(loam_waypoint_access_log_lines_lost_total[$__rate_interval]))', legend: 'lines' },
        ]),
      ],
    },
    {
      title: 'Processes',
      panels: [
        lines('Versions', 'short', [
          { expr: 'count by (component, tag) (istio_build)', legend: '{{component}} {{tag}}' },
        ]),
        lines('CPU', 'short', [
          {
            expr: `sum by (job) (${rate(`process_cpu_seconds_total{${OURS}}`)})`,
            legend: '{{job}}',
          },
        ]),
        lines('Memory of the largest', 'bytes', [
          { expr: `max by (job) (process_resident_memory_bytes{${OURS}})`, legend: '{{job}}' },
        ]),
        lines('Delay of the main event loop, at most', 's', [
          { expr: `max by (job) (nodejs_eventloop_lag_max_seconds{${OURS}})`, legend: '{{job}}' },
        ]),
      ],
    },
  ],
};
