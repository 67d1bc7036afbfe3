import "uplot/dist/uPlot.min.css";
import "../shared/style.css";

import { shell } from "../shared/shell.js";
import { quarantineView } from "./quarantine.js";
import { seriesView } from "./series-view.js";
import { stateView } from "./state.js";

shell({
    title: "Sluicegate",
    what: "This service asks for a token where auth.tokens is set.",
    links: [
        ["Every question (Swagger)", "/swagger"],
        ["OpenAPI", "/openapi.json"],
        ["Metrics", "/metrics"],
        ["Book", "https://github.com/sluicegate/sluicegate/tree/main/docs"],
    ],
    views: [stateView(), seriesView(), quarantineView()],
});
