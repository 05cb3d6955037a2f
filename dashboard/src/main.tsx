import { render } from 'preact';
import { takeToken } from './api.ts';
import { App } from './app.tsx';
import { start } from './state.ts';

takeToken();
start();
render(<App />, document.body);
