import { HubProvider } from "tidings/react";
import { List } from "./list.jsx";
export default function Page() {
  return <HubProvider url="/hub/"><List /></HubProvider>;
}
