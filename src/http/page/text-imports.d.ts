declare module "*/chat.js" {
  const text: string;
  export default text;
}
declare module "*/flatness.js" {
  const text: string;
  export default text;
}
