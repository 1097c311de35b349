// Run in the viewer: saves a report beside the study as the viewer saves measurements, by its own client, and waits until
// a search finds it. An item of the report has no name, which is what would make the viewer fail when it opened it.
(async () => {
  const study = new URLSearchParams(location.search).get("StudyInstanceUIDs").split(",")[0];
  const [source] = window.extensionManager.getActiveDataSource();
  const code = (value, meaning) => ({ CodeValue: value, CodingSchemeDesignator: "DCM", CodeMeaning: meaning });
  const uid = `2.25.${crypto.getRandomValues(new Uint32Array(3)).join("")}`;
  const text = { RelationshipType: "CONTAINS", ValueType: "TEXT", TextValue: "saved in the viewer" };
  await source.store.dicom({
    _meta: { FileMetaInformationVersion: { Value: [new Uint8Array([0, 1]).buffer] } },
    SOPClassUID: "1.2.840.10008.5.1.4.1.1.88.33", SOPInstanceUID: `${uid}.1`, SeriesInstanceUID: uid, StudyInstanceUID: study,
    Modality: "SR", SeriesNumber: "99", InstanceNumber: "1", ValueType: "CONTAINER", ContinuityOfContent: "SEPARATE",
    CompletionFlag: "PARTIAL", VerificationFlag: "UNVERIFIED",
    ConceptNameCodeSequence: [code("126000", "Imaging Measurement Report")], ContentSequence: [text],
  });
  for (let tries = 0; tries < 100; tries += 1) {
    const answer = await fetch(`/dicomweb/studies/${study}/instances?SOPInstanceUID=${uid}.1`);
    if ((await answer.json()).length > 0) return uid;
    await new Promise((done) => setTimeout(done, 100));
  }
  return null;
})()
