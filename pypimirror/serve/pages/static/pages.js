// Search as you type. Without it, the form works as well.
"use strict";
