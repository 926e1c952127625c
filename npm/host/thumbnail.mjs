// Scaled copies of images, where the package `sharp` is installed: Node.js itself decodes none.

let sharp;

/** The image, scaled to the frame and never larger than it was. */
export async function scaled(image, { width, height, crop }) {
  sharp ??= await import("sharp").then((module) => module.default, () => null);
  if (!sharp) throw noImage("images are scaled where the package sharp is installed");
  try {
    const { format } = await sharp(image).metadata();
    const output = format === "jpeg" ? "jpeg" : "png";
    const fit = { width, height, fit: crop ? "cover" : "inside", withoutEnlargement: true };
    return { bytes: await sharp(image).rotate().resize(fit).toFormat(output).toBuffer(), contentType: `image/${output}` };
  } catch (error) {
    throw noImage(error.message);
  }
}

function noImage(message) {
  return Object.assign(new Error(message), { code: "NO_IMAGE" });
}
