/** A page that is hidden and shown when a test says so. */
import { vi } from "vitest";

/** A page whose frames come when the test says so. */
export class FakePage extends EventTarget {
  visibilityState: "visible" | "hidden" = "visible";
  readonly frames = new Map<number, () => void>();
  #count = 0;

  install(): void {
    vi.stubGlobal("document", this);
    vi.stubGlobal("requestAnimationFrame", (callback: () => void) => {
      this.#count += 1;
      this.frames.set(this.#count, callback);
      return this.#count;
    });
    vi.stubGlobal("cancelAnimationFrame", (id: number) => this.frames.delete(id));
  }

  frame(): void {
    const due = [...this.frames.values()];
    this.frames.clear();
    for (const callback of due) callback();
  }

  show(state: "visible" | "hidden"): void {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}
