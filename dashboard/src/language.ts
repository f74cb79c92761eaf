/**
 * Repairs the language of browsers that name none: in the C locale, as on a kiosk, WebKitGTK's is "C", which is not a
 * language tag. uPlot hands it to `Intl` when it is imported, and would end the whole page.
 */
function isTag(language: string): boolean {
  try {
    return Intl.getCanonicalLocales(language).length > 0;
  } catch {
    return false;
  }
}

if (!isTag(navigator.language)) Object.defineProperty(navigator, "language", { value: "en", configurable: true });
