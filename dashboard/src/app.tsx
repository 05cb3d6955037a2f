import { Header } from './parts/header.tsx';
import { GraphPage } from './pages/graph-page.tsx';
import { PoliciesPage, PolicyPage } from './pages/policies.tsx';
import { RoutePage, RoutesPage } from './pages/routes.tsx';
import { ServicePage, ServicesPage } from './pages/services.tsx';
import { TapPage } from './pages/tap.tsx';
import { WorkloadPage, WorkloadsPage } from './pages/workloads.tsx';
import { route, state, trouble } from './state.ts';

function Page() {
  const [page, first, second, third] = route.value;
  const name = second === undefined ? undefined : `${first ?? ''}/${second}`;
  switch (page) {
    case 'services':
      return name === undefined ? <ServicesPage /> : <ServicePage name={name} />;
    case 'workloads':
      return name === undefined ? <WorkloadsPage /> : <WorkloadPage name={name} />;
    case 'policies':
      return name === undefined || third === undefined ? (
        <PoliciesPage />
      ) : (
        <PolicyPage kind={first ?? ''} name={`${second ?? ''}/${third}`} />
      );
    case 'routes':
      return name === undefined || third === undefined ? (
        <RoutesPage />
      ) : (
        <RoutePage kind={first ?? ''} name={`${second ?? ''}/${third}`} />
      );
    case 'tap':
      return <TapPage />;
    default:
      return <GraphPage />;
  }
}

export function App() {
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => (event.preventDefault(), document.getElementById('main')?.focus())}
      >
        To the content
      </a>
      <Header />
      <Trouble />
      <main id="main" tabIndex={-1}>
        <Page />
      </main>
    </>
  );
}

/** Why nobody can be asked, if so: what has no calls then is not idle. */
function whyDeaf(): string | undefined {
  const { producers = [], problems = [] } = state.value ?? {};
  if (producers.length === 0) return problems[0]?.why;
  return producers.every(({ connected }) => !connected) ? producers[0]?.problem : undefined;
}

function Trouble() {
  const { value } = trouble;
  const deaf = value === undefined ? whyDeaf() : undefined;
  return (
    <div role="status" aria-live="polite">
      {value === undefined ? null : (
        <p class="trouble">
          {value.status === 401
            ? 'This tab has no key, or one of an earlier start: open the address that loam dashboard printed.'
            : value.text}
        </p>
      )}
      {deaf === undefined ? null : (
        <p class="trouble">No program of the mesh tells of calls here, so that none are shown: {deaf}</p>
      )}
    </div>
  );
}
