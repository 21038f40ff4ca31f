// The queue, live.

import { watch } from "./live.js";

watch(document.getElementById("running").dataset.mark);
