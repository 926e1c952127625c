// Every scenario, in the order of the table.

import { absence } from "./absence.mjs";
import { devices } from "./devices.mjs";
import { history } from "./history.mjs";
import { membership } from "./membership.mjs";
import { power } from "./power.mjs";
import { spaces } from "./spaces.mjs";
import { talking } from "./talking.mjs";

export const scenarios = [...talking, ...devices, ...membership, ...power, ...spaces, ...history, ...absence];
