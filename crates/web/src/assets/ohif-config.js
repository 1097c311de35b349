// How the viewer is set up. It asks its own server alone, in Chinese unless somebody chose otherwise, and shows beside
// the study how much of it is here and safe.
"use strict";

(() => {
  const KEPT = "i18nextLng";
  const language = () => {
    const asked = new URLSearchParams(location.search).get("lng");
    const cookie = document.cookie.split("; ").find((pair) => pair.startsWith("i18next="))?.slice(8);
    return asked ?? cookie ?? localStorage.getItem(KEPT);
  };
  if (!language()) localStorage.setItem(KEPT, "zh");
  const isChinese = () => (language() ?? "zh").startsWith("zh");
  const words = (chinese, english) => (isChinese() ? chinese : english);

  // The way back to the list, and the state of the study that is open.
  function studyState(React) {
    return function StudyState() {
      const [text, setText] = React.useState("");
      React.useEffect(() => {
        const study = new URLSearchParams(location.search).get("StudyInstanceUIDs")?.split(",")[0];
        if (!study) return undefined;
        let timer = 0;
        const look = async () => {
          let whole = false;
          try {
            const answer = await fetch(`/api/studies/${encodeURIComponent(study)}/progress`);
            if (answer.ok) {
              const { arrived, verified } = await answer.json();
              whole = verified >= arrived;
              const safe = whole ? words("全部安全存储", "all safe") : words(`已安全存储 ${verified}/${arrived}`, `${verified}/${arrived} safe`);
              setText(`${words(`已到 ${arrived}`, `${arrived} arrived`)} · ${safe}`);
            }
          } catch {
            // Told again at the next look.
          }
          timer = setTimeout(look, whole ? 60000 : 5000);
        };
        look();
        return () => clearTimeout(timer);
      }, []);
      const back = React.createElement("a", { href: "/studies", className: "text-foreground text-sm underline" }, words("‹ 检查列表", "‹ Studies"));
      const state = React.createElement("span", { className: "text-muted-foreground text-xs", role: "status" }, text);
      return React.createElement("div", { className: "flex flex-col whitespace-nowrap leading-tight" }, back, state);
    };
  }

  let state = null;
  window.config = {
    name: 'filmgate',
    routerBasename: '/ohif',
    extensions: [],
    modes: [],
    customizationService: [{ 'ohif.tours': { $set: [] } }],
    // Asked for at every drawing of the header: always the same component, so that it lives on.
    whiteLabeling: { createLogoComponentFn: (React) => React.createElement((state ??= studyState(React))) },
    showStudyList: false,
    maxNumberOfWebWorkers: 3,
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: true,
    showLoadingIndicator: true,
    strictZSpacingForVolumeViewport: true,
    groupEnabledModesFirst: true,
    showErrorDetails: 'production',
    investigationalUseDialog: { option: 'never' },
    // A frame that does not come is shown as missing; without this the viewer fails over it.
    httpErrorHandler: (error) => console.warn(`status ${error?.status}`),
    maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
    defaultDataSourceName: 'dicomweb',
    dataSources: [
      {
        namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
        sourceName: 'dicomweb',
        configuration: {
          friendlyName: 'Filmgate',
          name: 'filmgate',
          qidoRoot: '/dicomweb',
          wadoRoot: '/dicomweb',
          stowRoot: '/dicomweb',
          qidoSupportsIncludeField: true,
          supportsReject: false,
          dicomUploadEnabled: false,
          imageRendering: 'wadors',
          thumbnailRendering: 'thumbnail',
          thumbnailRequestStrategy: 'fetch',
          enableStudyLazyLoad: true,
          supportsFuzzyMatching: false,
          supportsWildcard: true,
          supportsStow: true,
          omitQuotationForMultipartRequest: true,
          singlepart: 'bulkdata,video,pdf',
          bulkDataURI: { enabled: true, relativeResolution: 'studies' },
        },
      },
    ],
  };
})();
