BEGIN TRANSACTION;
CREATE TABLE instance (
	"key" INTEGER NOT NULL, 
	series_key INTEGER NOT NULL, 
	"SOPInstanceUID" TEXT NOT NULL, 
	"SOPClassUID" TEXT NOT NULL, 
	"InstanceNumber" INTEGER, 
	"AcquisitionNumber" INTEGER, 
	"NumberOfFrames" INTEGER, 
	"Rows" INTEGER, 
	"Columns" INTEGER, 
	"ContentDate" TEXT NOT NULL, 
	"ContentTime" TEXT NOT NULL, 
	"ImageType" TEXT NOT NULL, 
	"TransferSyntaxUID" TEXT NOT NULL, 
	path TEXT NOT NULL, 
	bytes BIGINT NOT NULL, 
	received_ms BIGINT NOT NULL, 
	received_from TEXT NOT NULL, 
	PRIMARY KEY ("key"), 
	UNIQUE ("SOPInstanceUID"), 
	FOREIGN KEY(series_key) REFERENCES series ("key")
);
INSERT INTO "instance" VALUES(1,1,'9.1','1.2',1,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/1.dcm',1,1700000000000,'CT99');
INSERT INTO "instance" VALUES(2,1,'9.2','1.2',2,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/2.dcm',2,1700000000000,'CT99');
INSERT INTO "instance" VALUES(3,2,'9.5','1.2',5,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/5.dcm',5,1700000000001,'CT99');
INSERT INTO "instance" VALUES(4,2,'9.6','1.2',6,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/6.dcm',6,1700000000001,'MR1');
INSERT INTO "instance" VALUES(5,3,'9.3','1.2',3,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/3.dcm',3,1700000000000,'MR1');
INSERT INTO "instance" VALUES(6,4,'9.7','1.2',7,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/7.dcm',7,1700000000001,'CT99');
INSERT INTO "instance" VALUES(7,5,'9.4','1.2',4,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/4.dcm',4,1700000000001,'CT99');
INSERT INTO "instance" VALUES(8,6,'9.8','1.2',8,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/8.dcm',8,1700000000002,'CT99');
INSERT INTO "instance" VALUES(9,7,'9.9','1.2',9,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/9.dcm',9,1700000000002,'MR1');
INSERT INTO "instance" VALUES(10,7,'9.10','1.2',10,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/10.dcm',10,1700000000002,'CT99');
INSERT INTO "instance" VALUES(11,8,'9.13','1.2',13,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/13.dcm',13,1700000000003,'CT99');
INSERT INTO "instance" VALUES(12,8,'9.14','1.2',14,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/14.dcm',14,1700000000003,'CT99');
INSERT INTO "instance" VALUES(13,9,'9.11','1.2',11,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/11.dcm',11,1700000000002,'CT99');
INSERT INTO "instance" VALUES(14,10,'9.15','1.2',15,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/15.dcm',15,1700000000003,'MR1');
INSERT INTO "instance" VALUES(15,11,'9.12','1.2',12,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/12.dcm',12,1700000000003,'MR1');
INSERT INTO "instance" VALUES(16,12,'9.16','1.2',16,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/16.dcm',16,1700000000004,'CT99');
INSERT INTO "instance" VALUES(17,13,'9.17','1.2',17,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/17.dcm',17,1700000000004,'CT99');
INSERT INTO "instance" VALUES(18,13,'9.18','1.2',18,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/18.dcm',18,1700000000004,'MR1');
INSERT INTO "instance" VALUES(19,14,'9.21','1.2',21,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/21.dcm',21,1700000000005,'MR1');
INSERT INTO "instance" VALUES(20,14,'9.22','1.2',22,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/22.dcm',22,1700000000005,'CT99');
INSERT INTO "instance" VALUES(21,15,'9.19','1.2',19,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/19.dcm',19,1700000000004,'CT99');
INSERT INTO "instance" VALUES(22,16,'9.23','1.2',23,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/23.dcm',23,1700000000005,'CT99');
INSERT INTO "instance" VALUES(23,17,'9.20','1.2',20,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/20.dcm',20,1700000000005,'CT99');
INSERT INTO "instance" VALUES(24,18,'9.24','1.2',24,NULL,NULL,NULL,NULL,'','','','1.2.840.10008.1.2','studies/24.dcm',24,1700000000006,'MR1');
CREATE TABLE series (
	"key" INTEGER NOT NULL, 
	study_key INTEGER NOT NULL, 
	"SeriesInstanceUID" TEXT NOT NULL, 
	"Modality" TEXT NOT NULL, 
	"SeriesNumber" INTEGER, 
	"SeriesDescription" TEXT NOT NULL, 
	"SeriesDate" TEXT NOT NULL, 
	"SeriesTime" TEXT NOT NULL, 
	"BodyPartExamined" TEXT NOT NULL, 
	"ProtocolName" TEXT NOT NULL, 
	"Laterality" TEXT NOT NULL, 
	"Manufacturer" TEXT NOT NULL, 
	"ManufacturerModelName" TEXT NOT NULL, 
	"StationName" TEXT NOT NULL, 
	"FrameOfReferenceUID" TEXT NOT NULL, 
	bytes BIGINT NOT NULL, 
	instances INTEGER NOT NULL, 
	first_ms BIGINT NOT NULL, 
	first_uid TEXT NOT NULL, 
	received_ms BIGINT NOT NULL, 
	received_uid TEXT NOT NULL, 
	received_from TEXT NOT NULL, 
	PRIMARY KEY ("key"), 
	UNIQUE (study_key, "SeriesInstanceUID"), 
	FOREIGN KEY(study_key) REFERENCES study ("key")
);
INSERT INTO "series" VALUES(1,1,'1.1.1','CT',NULL,'','','','','','','','','','',3,2,1700000000000,'9.1',1700000000000,'9.2','CT99');
INSERT INTO "series" VALUES(2,1,'1.1.2','',NULL,'','','','','','','','','','',11,2,1700000000001,'9.5',1700000000001,'9.6','MR1');
INSERT INTO "series" VALUES(3,2,'1.1.1','CT',NULL,'','','','','','','','','','',3,1,1700000000000,'9.3',1700000000000,'9.3','MR1');
INSERT INTO "series" VALUES(4,2,'1.1.2','',NULL,'','','','','','','','','','',7,1,1700000000001,'9.7',1700000000001,'9.7','CT99');
INSERT INTO "series" VALUES(5,3,'1.1.1','CT',NULL,'','','','','','','','','','',4,1,1700000000001,'9.4',1700000000001,'9.4','CT99');
INSERT INTO "series" VALUES(6,3,'1.1.2','',NULL,'','','','','','','','','','',8,1,1700000000002,'9.8',1700000000002,'9.8','CT99');
INSERT INTO "series" VALUES(7,4,'1.2.1','CT',NULL,'','','','','','','','','','',19,2,1700000000002,'9.10',1700000000002,'9.9','MR1');
INSERT INTO "series" VALUES(8,4,'1.2.2','',NULL,'','','','','','','','','','',27,2,1700000000003,'9.13',1700000000003,'9.14','CT99');
INSERT INTO "series" VALUES(9,5,'1.2.1','CT',NULL,'','','','','','','','','','',11,1,1700000000002,'9.11',1700000000002,'9.11','CT99');
INSERT INTO "series" VALUES(10,5,'1.2.2','',NULL,'','','','','','','','','','',15,1,1700000000003,'9.15',1700000000003,'9.15','MR1');
INSERT INTO "series" VALUES(11,6,'1.2.1','CT',NULL,'','','','','','','','','','',12,1,1700000000003,'9.12',1700000000003,'9.12','MR1');
INSERT INTO "series" VALUES(12,6,'1.2.2','',NULL,'','','','','','','','','','',16,1,1700000000004,'9.16',1700000000004,'9.16','CT99');
INSERT INTO "series" VALUES(13,7,'1.3.1','CT',NULL,'','','','','','','','','','',35,2,1700000000004,'9.17',1700000000004,'9.18','MR1');
INSERT INTO "series" VALUES(14,7,'1.3.2','',NULL,'','','','','','','','','','',43,2,1700000000005,'9.21',1700000000005,'9.22','CT99');
INSERT INTO "series" VALUES(15,8,'1.3.1','CT',NULL,'','','','','','','','','','',19,1,1700000000004,'9.19',1700000000004,'9.19','CT99');
INSERT INTO "series" VALUES(16,8,'1.3.2','',NULL,'','','','','','','','','','',23,1,1700000000005,'9.23',1700000000005,'9.23','CT99');
INSERT INTO "series" VALUES(17,9,'1.3.1','CT',NULL,'','','','','','','','','','',20,1,1700000000005,'9.20',1700000000005,'9.20','CT99');
INSERT INTO "series" VALUES(18,9,'1.3.2','',NULL,'','','','','','','','','','',24,1,1700000000006,'9.24',1700000000006,'9.24','MR1');
CREATE TABLE study (
	"key" INTEGER NOT NULL, 
	identity TEXT NOT NULL, 
	"StudyInstanceUID" TEXT NOT NULL, 
	"PatientName" TEXT NOT NULL, 
	"PatientID" TEXT NOT NULL, 
	"IssuerOfPatientID" TEXT NOT NULL, 
	"PatientBirthDate" TEXT NOT NULL, 
	"PatientSex" TEXT NOT NULL, 
	"StudyDate" TEXT NOT NULL, 
	"StudyTime" TEXT NOT NULL, 
	"StudyID" TEXT NOT NULL, 
	"AccessionNumber" TEXT NOT NULL, 
	"StudyDescription" TEXT NOT NULL, 
	"ReferringPhysicianName" TEXT NOT NULL, 
	"PatientAge" TEXT NOT NULL, 
	"InstitutionName" TEXT NOT NULL, 
	"PatientName_folded" TEXT NOT NULL, 
	"ReferringPhysicianName_folded" TEXT NOT NULL, 
	modalities TEXT NOT NULL, 
	series INTEGER NOT NULL, 
	"conflict" TEXT NOT NULL, 
	bytes BIGINT NOT NULL, 
	instances INTEGER NOT NULL, 
	first_ms BIGINT NOT NULL, 
	first_uid TEXT NOT NULL, 
	received_ms BIGINT NOT NULL, 
	received_uid TEXT NOT NULL, 
	received_from TEXT NOT NULL, 
	PRIMARY KEY ("key"), 
	UNIQUE ("StudyInstanceUID", identity)
);
INSERT INTO "study" VALUES(1,'001doe^jane19700101','1.1','Doe^Jane','001','','19700101','F','20260131','','','','1','','','','doe^jane','','CT',2,'this study came under two patients (ID, issuer, name or birth date differ); the same Patient ID has another name or birth date in study 1.2 and 1 more',14,4,1700000000000,'9.1',1700000000001,'9.6','MR1');
INSERT INTO "study" VALUES(2,'001roe^richard','1.1','Roe^Richard','001','','','M','20260131','','','','3','','','','roe^richard','','CT',2,'this study came under two patients (ID, issuer, name or birth date differ); the same Patient ID has another name or birth date in study 1.2 and 1 more',10,2,1700000000000,'9.3',1700000000001,'9.7','CT99');
INSERT INTO "study" VALUES(3,'яков^müller=山田','1.1','Яков^Müller=山田','','','','','20260131','','','','4','','','','яков^müller=山田','','CT',2,'this study came under two patients (ID, issuer, name or birth date differ)',12,2,1700000000001,'9.4',1700000000002,'9.8','CT99');
INSERT INTO "study" VALUES(4,'001doe^jane19700101','1.2','DOE^JANE','001','','19700101','','20260131','','','','0','','','','doe^jane','','CT',2,'this study came under two patients (ID, issuer, name or birth date differ); the same Patient ID has another name or birth date in study 1.1 and 1 more',46,4,1700000000002,'9.10',1700000000003,'9.14','CT99');
INSERT INTO "study" VALUES(5,'001roe^richard','1.2','Roe^Richard','001','','','M','20260131','','','','1','','','','roe^richard','','CT',2,'this study came under two patients (ID, issuer, name or birth date differ); the same Patient ID has another name or birth date in study 1.1 and 1 more',26,2,1700000000002,'9.11',1700000000003,'9.15','MR1');
INSERT INTO "study" VALUES(6,'яков^müller=山田','1.2','Яков^Müller=山田','','','','','20260131','','','','2','','','','яков^müller=山田','','CT',2,'this study came under two patients (ID, issuer, name or birth date differ)',28,2,1700000000003,'9.12',1700000000004,'9.16','CT99');
INSERT INTO "study" VALUES(7,'001doe^jane19700101','1.3','Doe^Jane','001','','19700101','F','20260131','','','','2','','','','doe^jane','','CT',2,'this study came under two patients (ID, issuer, name or birth date differ); the same Patient ID has another name or birth date in study 1.1 and 1 more',78,4,1700000000004,'9.17',1700000000005,'9.22','CT99');
INSERT INTO "study" VALUES(8,'001roe^richard','1.3','Roe^Richard','001','','','M','20260131','','','','4','','','','roe^richard','','CT',2,'this study came under two patients (ID, issuer, name or birth date differ); the same Patient ID has another name or birth date in study 1.1 and 1 more',42,2,1700000000004,'9.19',1700000000005,'9.23','CT99');
INSERT INTO "study" VALUES(9,'яков^müller=山田','1.3','Яков^Müller=山田','','','','','20260131','','','','0','','','','яков^müller=山田','','CT',2,'this study came under two patients (ID, issuer, name or birth date differ)',44,2,1700000000005,'9.20',1700000000006,'9.24','MR1');
CREATE INDEX study_patient ON study ("PatientID", "IssuerOfPatientID");
CREATE INDEX study_name ON study ("PatientName_folded");
CREATE INDEX study_date ON study ("StudyDate");
CREATE INDEX series_uid ON series ("SeriesInstanceUID");
CREATE INDEX instance_series ON instance (series_key);
COMMIT;
PRAGMA user_version=1;
