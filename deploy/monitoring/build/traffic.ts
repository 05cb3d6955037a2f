import { quantiles, withExemplars, type Dashboard, type Panel, type Variable } from './dashboard.ts';

const SERVICE_LABELS = 'destination_service_namespace, destination_service_name';
const REQUESTS = 'istio_requests_total{reporter="waypoint"}';
const ERRORS = 'response_code=~"5..|0"';
const SERVICE = '{{destination_service_namespace}}/{{destination_service_name}}';

const rate = (selector: string): string => `rate(${selector}[$__rate_interval])`;
const sumBy = (labels: string, of: string): string => `sum by (${labels}) (${of})`;
const where = (metric: string, ...matchers: string[]): string => `${metric}{${matchers.join(', ')}}`;

/** Everything at a glance. */
export const mesh: Dashboard = {
  uid: 'loam-mesh',
  title: 'Loam / Mesh',
  description: 'All Services of the mesh. Requests are those that pass a waypoint; connections are those of all pods.',
  variables: [],
  rows: [
    {
      title: 'Now',
      panels: [
        {
          ...{ title: 'Requests', kind: 'figure', unit: 'reqps', width: 4 },
          queries: [{ expr: `sum(${rate(REQUESTS)})` }],
        },
        {
          ...{ title: 'Of them failed', kind: 'figure', unit: 'percentunit', width: 4, bounds: [0.01, 0.05] },
          description: '5xx, and requests that got no response.',
          queries: [
            {
              expr: `(sum(${rate(where('istio_requests_total', 'reporter="waypoint"', ERRORS))}) or vector(0)) / sum(${rate(REQUESTS)})`,
            },
          ],
        },
        {
          ...{ title: 'Connections opened', kind: 'figure', unit: 'cps', width: 4 },
          queries: [{ expr: `sum(${rate('istio_tcp_connections_opened_total{reporter="source"}')})` }],
        },
        {
          ...{ title: 'Of them mutual TLS', kind: 'figure', unit: 'percentunit', width: 4 },
          description: 'As the destination saw them. The rest came from outside of the mesh.',
          queries: [
            {
              expr: `sum(${rate('istio_tcp_connections_opened_total{reporter="destination", connection_security_policy="mutual_tls"}')}) / sum(${rate('istio_tcp_connections_opened_total{reporter="destination"}')})`,
            },
          ],
        },
        {
          ...{ title: 'Pods in the mesh', kind: 'figure', unit: 'short', width: 4 },
          queries: [{ expr: 'sum(max by (node) (istio_active_proxy_count_total))' }],
        },
        {
          ...{ title: 'Alerts', kind: 'figure', unit: 'short', width: 4, bounds: [1, 5] },
          description: "Of Loam's rules, that fire now.",
          queries: [{ expr: 'count(ALERTS{alertstate="firing", alertname=~"Loam.+"}) or vector(0)' }],
        },
      ],
    },
    {
      title: 'Services',
      panels: [
        {
          ...{ title: 'Services with a waypoint', kind: 'table', unit: 'short', width: 24 },
          queries: [
            { expr: 'service:istio_requests:rate5m', legend: 'Requests' },
            { expr: 'service:istio_request_errors:ratio_rate5m', legend: 'Failed' },
            ...quantiles('service:istio_request_duration_milliseconds_bucket:rate5m'),
          ],
          units: ['reqps', 'percentunit', 'ms', 'ms', 'ms'],
          link: {
            title: 'Service',
            url: '/d/loam-service?var-namespace=${__data.fields.destination_service_namespace}&var-service=${__data.fields.destination_service_name}',
          },
        },
        {
          ...{ title: 'Requests', kind: 'lines', unit: 'reqps' },
          queries: [{ expr: sumBy(SERVICE_LABELS, rate(REQUESTS)), legend: SERVICE }],
        },
        {
          ...{ title: 'Failed requests', kind: 'lines', unit: 'reqps' },
          queries: [
            {
              expr: sumBy(
                `${SERVICE_LABELS}, response_flags`,
                rate(where('istio_requests_total', 'reporter="waypoint"', ERRORS)),
              ),
              legend: `${SERVICE} {{response_flags}}`,
            },
          ],
        },
        {
          ...{ title: 'Connections opened', kind: 'lines', unit: 'cps' },
          queries: [
            {
              expr: sumBy(SERVICE_LABELS, rate('istio_tcp_connections_opened_total{reporter="source"}')),
              legend: SERVICE,
            },
          ],
        },
        {
          ...{ title: 'Connections that failed', kind: 'lines', unit: 'cps' },
          queries: [
            {
              expr: sumBy(`${SERVICE_LABELS}, response_flags`, rate('istio_tcp_connections_failed_total')),
              legend: `${SERVICE} {{response_flags}}`,
            },
          ],
        },
        {
          ...{ title: 'Bytes to clients', kind: 'lines', unit: 'Bps' },
          queries: [
            { expr: sumBy(SERVICE_LABELS, rate('istio_tcp_sent_bytes_total{reporter="source"}')), legend: SERVICE },
          ],
        },
        {
          ...{ title: 'Bytes from clients', kind: 'lines', unit: 'Bps' },
          queries: [
            {
              expr: sumBy(SERVICE_LABELS, rate('istio_tcp_received_bytes_total{reporter="source"}')),
              legend: SERVICE,
            },
          ],
        },
      ],
    },
  ],
};

/** @param of what the requests have in common */
const durations = (of: readonly string[]): Panel => ({
  ...{ title: 'Duration', kind: 'lines', unit: 'ms' },
  description: 'The points are requests whose trace was sampled.',
  queries: withExemplars(
    quantiles(sumBy('le', rate(where('istio_request_duration_milliseconds_bucket', 'reporter="waypoint"', ...of)))),
  ),
});

const OF_SERVICE = ['destination_service_namespace="$namespace"', 'destination_service_name="$service"'];
const requestsOf = (...matchers: string[]): string =>
  where('istio_requests_total', 'reporter="waypoint"', ...OF_SERVICE, ...matchers);
/** `service` is `namespace/hostname`, and the hostname begins with the name. */
const doneFor = (metric: string): string => where(metric, String.raw`service=~"$namespace/$service\\..*"`);

const NAMESPACE: Variable = {
  ...{ name: 'namespace', label: 'Namespace' },
  query: 'label_values(istio_tcp_connections_opened_total, destination_service_namespace)',
};

/** One Service. */
export const service: Dashboard = {
  uid: 'loam-service',
  title: 'Loam / Service',
  description: 'One Service: who calls it, what answers, by which route, and what its waypoint did.',
  variables: [
    NAMESPACE,
    {
      ...{ name: 'service', label: 'Service' },
      query:
        'label_values(istio_tcp_connections_opened_total{destination_service_namespace="$namespace"}, destination_service_name)',
    },
  ],
  rows: [
    {
      title: 'Requests (with a waypoint)',
      panels: [
        {
          ...{ title: 'Requests by response code', kind: 'lines', unit: 'reqps', stacked: true },
          queries: [{ expr: sumBy('response_code', rate(requestsOf())), legend: '{{response_code}}' }],
        },
        durations(OF_SERVICE),
        {
          ...{ title: 'Callers', kind: 'lines', unit: 'reqps' },
          queries: [
            {
              expr: sumBy('source_workload_namespace, source_workload', rate(requestsOf())),
              legend: '{{source_workload_namespace}}/{{source_workload}}',
            },
          ],
        },
        {
          ...{ title: 'Endpoints by version: the split as measured', kind: 'lines', unit: 'reqps', stacked: true },
          queries: [
            {
              expr: sumBy('destination_workload, destination_version', rate(requestsOf())),
              legend: '{{destination_workload}} {{destination_version}}',
            },
          ],
        },
        {
          ...{ title: 'Routes', kind: 'lines', unit: 'reqps' },
          queries: [{ expr: sumBy('route', rate(requestsOf())), legend: '{{route}}' }],
        },
        {
          ...{ title: 'Response flags', kind: 'lines', unit: 'reqps' },
          description: 'Why a response is not simply the application’s: docs/response-flags.md.',
          queries: [
            { expr: sumBy('response_flags', rate(requestsOf('response_flags!="-"'))), legend: '{{response_flags}}' },
          ],
        },
        {
          ...{ title: 'gRPC statuses', kind: 'lines', unit: 'reqps' },
          queries: [
            {
              expr: sumBy('grpc_response_status', rate(requestsOf('request_protocol="grpc"'))),
              legend: '{{grpc_response_status}}',
            },
          ],
        },
        {
          ...{ title: 'What the waypoint did', kind: 'lines', unit: 'reqps' },
          queries: [
            { expr: sumBy('outcome', rate(doneFor('loam_waypoint_retries_total'))), legend: 'retry: {{outcome}}' },
            { expr: sumBy('reason', rate(doneFor('loam_waypoint_ejections_total'))), legend: 'ejected: {{reason}}' },
            {
              expr: sumBy('bound', rate(doneFor('loam_waypoint_circuit_breaker_refusals_total'))),
              legend: 'circuit breaker: {{bound}}',
            },
            {
              expr: sumBy('policy', rate(doneFor('loam_waypoint_rate_limited_total'))),
              legend: 'rate limit: {{policy}}',
            },
            {
              expr: sumBy('fallback', rate(doneFor('loam_waypoint_fallbacks_total'))),
              legend: 'fallback: {{fallback}}',
            },
            {
              expr: sumBy('policy', rate(doneFor('loam_waypoint_denied_requests_total'))),
              legend: 'denied: {{policy}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Connections',
      panels: [
        {
          ...{ title: 'Opened, by caller', kind: 'lines', unit: 'cps' },
          queries: [
            {
              expr: sumBy(
                'source_workload_namespace, source_workload',
                rate(where('istio_tcp_connections_opened_total', 'reporter="source"', ...OF_SERVICE)),
              ),
              legend: '{{source_workload_namespace}}/{{source_workload}}',
            },
          ],
        },
        {
          ...{ title: 'Failed, by reason', kind: 'lines', unit: 'cps' },
          queries: [
            {
              expr: sumBy(
                'reporter, response_flags',
                rate(where('istio_tcp_connections_failed_total', ...OF_SERVICE)),
              ),
              legend: '{{response_flags}} ({{reporter}})',
            },
          ],
        },
        {
          ...{ title: 'Bytes', kind: 'lines', unit: 'Bps' },
          queries: [
            {
              expr: `sum(${rate(where('istio_tcp_sent_bytes_total', 'reporter="source"', ...OF_SERVICE))})`,
              legend: 'to clients',
            },
            {
              expr: `sum(${rate(where('istio_tcp_received_bytes_total', 'reporter="source"', ...OF_SERVICE))})`,
              legend: 'from clients',
            },
          ],
        },
        {
          ...{ title: "The waypoint's endpoints", kind: 'lines', unit: 'short' },
          queries: [
            { expr: `sum(${doneFor('loam_waypoint_upstream_connections')})`, legend: 'open connections' },
            { expr: `sum(${doneFor('loam_waypoint_pending_requests')})`, legend: 'requests that wait' },
            { expr: `max(${doneFor('loam_waypoint_ejected_endpoints')})`, legend: 'endpoints out of balancing' },
          ],
        },
      ],
    },
  ],
};

const INTO = ['destination_workload_namespace="$namespace"', 'destination_workload="$workload"'];
const OUT_OF = ['source_workload_namespace="$namespace"', 'source_workload="$workload"'];
const CALLER = '{{source_workload_namespace}}/{{source_workload}}';

/** One Deployment (StatefulSet, ...) with what it is asked and what it asks. */
export const workload: Dashboard = {
  uid: 'loam-workload',
  title: 'Loam / Workload',
  description: 'One workload: what comes in and what it calls.',
  variables: [
    {
      ...{ name: 'namespace', label: 'Namespace' },
      query: 'label_values(istio_tcp_connections_opened_total, source_workload_namespace)',
    },
    {
      ...{ name: 'workload', label: 'Workload' },
      query:
        'label_values(istio_tcp_connections_opened_total{source_workload_namespace="$namespace"}, source_workload)',
    },
  ],
  rows: [
    {
      title: 'In',
      panels: [
        {
          ...{ title: 'Requests by caller and code', kind: 'lines', unit: 'reqps' },
          queries: [
            {
              expr: sumBy(
                'source_workload_namespace, source_workload, response_code',
                rate(where('istio_requests_total', 'reporter="waypoint"', ...INTO)),
              ),
              legend: `${CALLER} {{response_code}}`,
            },
          ],
        },
        durations(INTO),
        {
          ...{ title: 'Connections, by caller', kind: 'lines', unit: 'cps' },
          description: 'Through a waypoint, the waypoint is the caller.',
          queries: [
            {
              expr: sumBy(
                'source_workload_namespace, source_workload, connection_security_policy',
                rate(where('istio_tcp_connections_opened_total', 'reporter="destination"', ...INTO)),
              ),
              legend: `${CALLER} {{connection_security_policy}}`,
            },
          ],
        },
        {
          ...{ title: 'Refused and failed', kind: 'lines', unit: 'cps' },
          queries: [
            {
              expr: sumBy(
                'source_principal, response_flags',
                rate(where('istio_tcp_connections_failed_total', 'reporter="destination"', ...INTO)),
              ),
              legend: '{{source_principal}} {{response_flags}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Out',
      panels: [
        {
          ...{ title: 'Requests by Service and code', kind: 'lines', unit: 'reqps' },
          queries: [
            {
              expr: sumBy(
                `${SERVICE_LABELS}, response_code`,
                rate(where('istio_requests_total', 'reporter="waypoint"', ...OUT_OF)),
              ),
              legend: `${SERVICE} {{response_code}}`,
            },
          ],
        },
        {
          ...{ title: 'Connections opened, by Service', kind: 'lines', unit: 'cps' },
          queries: [
            {
              expr: sumBy(
                SERVICE_LABELS,
                rate(where('istio_tcp_connections_opened_total', 'reporter="source"', ...OUT_OF)),
              ),
              legend: SERVICE,
            },
          ],
        },
        {
          ...{ title: 'Connections that failed', kind: 'lines', unit: 'cps' },
          queries: [
            {
              expr: sumBy(
                `${SERVICE_LABELS}, response_flags`,
                rate(where('istio_tcp_connections_failed_total', 'reporter="source"', ...OUT_OF)),
              ),
              legend: `${SERVICE} {{response_flags}}`,
            },
          ],
        },
        {
          ...{ title: 'Bytes', kind: 'lines', unit: 'Bps' },
          queries: [
            {
              expr: `sum(${rate(where('istio_tcp_received_bytes_total', 'reporter="source"', ...OUT_OF))})`,
              legend: 'sent by it',
            },
            {
              expr: `sum(${rate(where('istio_tcp_sent_bytes_total', 'reporter="source"', ...OUT_OF))})`,
              legend: 'received by it',
            },
          ],
        },
      ],
    },
  ],
};
