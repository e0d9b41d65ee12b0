import type { TestContext } from 'node:test';
import { WebSocket } from 'undici';
import { start } from './program.ts';
import { scratch } from './scratch.ts';

/** A message of the DevTools protocol. */
interface Message {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

/** A page in a headless Chromium, driven by the DevTools protocol. */
export class BrowserPage {
  /** What the browser complained about: errors of scripts, and what a policy has blocked. */
  readonly complaints: string[] = [];
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, (message: Message) => void>();
  #loaded: () => void = () => {};

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => this.#receive(JSON.parse(String(data))));
  }

  static async open(t: TestContext): Promise<BrowserPage> {
    const chromium = start(t, '/usr/bin/chromium', [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--remote-debugging-port=0',
      `--user-data-dir=${scratch(t)}`,
      'about:blank',
    ]);
    const [, address = ''] = await chromium.says(/DevTools listening on ws:\/\/([^/]+)/);
    const targets = (await (await fetch(`http://${address}/json`)).json()) as {
      type: string;
      webSocketDebuggerUrl: string;
    }[];
    const { webSocketDebuggerUrl = '' } = targets.find(({ type }) => type === 'page') ?? {};
    const socket = new WebSocket(webSocketDebuggerUrl);
    await new Promise((resolve) => socket.addEventListener('open', resolve));
    t.after(() => socket.close());
    const page = new BrowserPage(socket);
    for (const domain of ['Page', 'Runtime', 'Log', 'Accessibility']) {
      await page.send(`${domain}.enable`);
    }
    return page;
  }

  async send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = this.#answers.size + 1;
    const answer = new Promise<Message>((resolve) => this.#answers.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await answer;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  async goTo(url: string): Promise<void> {
    const loaded = new Promise<void>((resolve) => {
      this.#loaded = resolve;
    });
    await this.send('Page.navigate', { url });
    await loaded;
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const answer = await this.send('Runtime.evaluate', { expression, returnByValue: true });
    return (answer['result'] as { value?: unknown }).value;
  }

  /** Types a key, such as Tab, or a space. */
  async type(key: string): Promise<void> {
    const code = { Tab: 9, ' ': 32 }[key];
    const common = { key, windowsVirtualKeyCode: code };
    const text = key === ' ' ? { text: key } : {};
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...common, ...text });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...common });
  }

  /** What a screen reader finds: roles with their names. */
  async accessible(): Promise<string[]> {
    const { nodes } = (await this.send('Accessibility.getFullAXTree')) as {
      nodes: { ignored: boolean; role?: { value: string }; name?: { value: string } }[];
    };
    return nodes
      .filter(({ ignored }) => !ignored)
      .map(({ role, name }) => `${role?.value}: ${name?.value}`);
  }

  /** A picture of the page in PNG, of this width, in light or dark. */
  async picture(width: number, scheme: 'light' | 'dark'): Promise<Buffer> {
    await this.send('Emulation.setDeviceMetricsOverride', {
      width,
      height: 1200,
      deviceScaleFactor: 1,
      mobile: width < 600,
    });
    await this.send('Emulation.setEmulatedMedia', {
      features: [{ name: 'prefers-color-scheme', value: scheme }],
    });
    const { data } = await this.send('Page.captureScreenshot', { captureBeyondViewport: true });
    return Buffer.from(String(data), 'base64');
  }

  #receive({ id, method, params = {}, ...answer }: Message): void {
    if (id !== undefined) this.#answers.get(id)?.(answer);
    if (method === 'Page.loadEventFired') this.#loaded();
    if (method === 'Log.entryAdded' || method === 'Runtime.exceptionThrown') {
      this.complaints.push(JSON.stringify(params));
    }
  }
}
