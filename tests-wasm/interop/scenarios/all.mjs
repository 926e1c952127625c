// Every scenario, in the order of the table.

import { talking } from "./talking.mjs";

export const scenarios = [...talking];
