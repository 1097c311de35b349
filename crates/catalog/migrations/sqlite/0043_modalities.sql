-- Modalities of a study with its date stand among the grams as '<modality>/<date>': the studies of a modality within some dates are
-- one run of that table, found without a look at any series. Entries of before a date was known stay; they only narrow.

INSERT INTO index_grams (site_id, field, gram, study_number)
SELECT DISTINCT st.site_id, 5, se.modality || '/' || COALESCE(st.study_date, ''), st.study_number
FROM index_studies st JOIN index_series se
    ON se.site_id = st.site_id AND se.study_instance_uid = st.study_instance_uid
WHERE LENGTH(se.modality) <= 16;

CREATE TRIGGER index_series_modality_comes AFTER INSERT ON index_series
WHEN LENGTH(NEW.modality) <= 16 BEGIN
    INSERT INTO index_grams (site_id, field, gram, study_number)
    SELECT st.site_id, 5, NEW.modality || '/' || COALESCE(st.study_date, ''), st.study_number
    FROM index_studies st
    WHERE st.site_id = NEW.site_id AND st.study_instance_uid = NEW.study_instance_uid
    ON CONFLICT (site_id, field, gram, study_number) DO NOTHING;
END;

CREATE TRIGGER index_series_modality_is_told AFTER UPDATE OF modality ON index_series
WHEN LENGTH(NEW.modality) <= 16 AND NEW.modality IS NOT OLD.modality BEGIN
    INSERT INTO index_grams (site_id, field, gram, study_number)
    SELECT st.site_id, 5, NEW.modality || '/' || COALESCE(st.study_date, ''), st.study_number
    FROM index_studies st
    WHERE st.site_id = NEW.site_id AND st.study_instance_uid = NEW.study_instance_uid
    ON CONFLICT (site_id, field, gram, study_number) DO NOTHING;
END;

CREATE TRIGGER index_studies_date_is_told AFTER UPDATE OF study_date ON index_studies
WHEN NEW.study_date IS NOT OLD.study_date BEGIN
    INSERT INTO index_grams (site_id, field, gram, study_number)
    SELECT DISTINCT se.site_id, 5, se.modality || '/' || COALESCE(NEW.study_date, ''), NEW.study_number
    FROM index_series se
    WHERE se.site_id = NEW.site_id AND se.study_instance_uid = NEW.study_instance_uid AND LENGTH(se.modality) <= 16
    ON CONFLICT (site_id, field, gram, study_number) DO NOTHING;
END;

CREATE TRIGGER index_studies_date_comes AFTER INSERT ON index_studies BEGIN
    INSERT INTO index_grams (site_id, field, gram, study_number)
    SELECT DISTINCT se.site_id, 5, se.modality || '/' || COALESCE(NEW.study_date, ''), NEW.study_number
    FROM index_series se
    WHERE se.site_id = NEW.site_id AND se.study_instance_uid = NEW.study_instance_uid AND LENGTH(se.modality) <= 16
    ON CONFLICT (site_id, field, gram, study_number) DO NOTHING;
END;

-- Nothing is looked for by it any more.
DROP INDEX index_series_by_modality;
