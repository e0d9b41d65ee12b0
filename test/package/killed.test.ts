import { test } from 'node:test';
import { installedMachine, type Installation } from '../support/installed-machine.ts';
import { MailStream } from '../support/mail-stream.ts';
import { needs } from '../support/needs.ts';
import { random } from '../support/random.ts';

const modes: Installation[] = [
  { configtype: 'smarthost', split: false },
  { configtype: 'smarthost', split: true },
  { configtype: 'satellite', exim: { dc_readhost: 'example.net', dc_hide_mailname: 'true' } },
];
for (const mode of modes) {
  const title = `${mode.configtype}, ${mode.split ? 'split' : 'unsplit'}`;
  void test(
    `${title}: reboot, crash and kill -9 of everything lose, double and bounce nothing`,
    needs('machines'),
    async (t) => {
      const machine = await installedMachine(t, mode);
      const chance = random(t);
      const stream = new MailStream(machine);
      await stream.start();
      for (let round = 0; round < 12; round += 1) {
        await stream.more(1 + chance.below(3));
        const victim = ['exim4', 'node', 'sh exim-pipe'][chance.below(3)] ?? '';
        await machine.try(
          victim === 'sh exim-pipe' ? 'pkill -9 -f exim-pipe' : `pkill -9 -x ${victim}`,
        );
        await machine.until('systemctl is-active exim4 || systemctl restart exim4');
      }
      await stream.stop();
      await machine.reboot();
      await stream.start();
      await stream.more(3);
      await machine.crash();
      await machine.start();
      await stream.start();
      await stream.more(3);
      await stream.stop();
      t.diagnostic(`${await stream.account()} messages`);
    },
  );
}
