import "uplot/dist/uPlot.min.css";
import "../shared/style.css";

import { shell } from "../shared/shell.js";
import { driveView } from "./drive.js";
import { fleetView } from "./fleet.js";
import { settingsView } from "./settings.js";

shell({
    title: "sluicegen",
    what: "This generator asks for a token where --api-token-file is given.",
    links: [
        ["Every question (Swagger)", "/swagger/swagger-ui/"],
        ["OpenAPI", "/openapi.json"],
        ["Book", "https://github.com/sluicegate/sluicegate/tree/main/docs"],
    ],
    views: [driveView(), settingsView(), fleetView()],
});
