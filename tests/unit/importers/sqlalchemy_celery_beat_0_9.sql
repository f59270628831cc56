-- The tables as sqlalchemy-celery-beat 0.9.1 makes and fills them on SQLite.

CREATE TABLE celery_clockedschedule (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  clocked_time DATETIME
);
INSERT INTO "celery_clockedschedule" VALUES(1,'2099-01-31 08:00:00.000000');

CREATE TABLE celery_crontabschedule (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  minute VARCHAR(240) NOT NULL,
  hour VARCHAR(96) NOT NULL,
  day_of_week VARCHAR(64) NOT NULL,
  day_of_month VARCHAR(124) NOT NULL,
  month_of_year VARCHAR(64) NOT NULL,
  timezone VARCHAR(64) NOT NULL
);
INSERT INTO "celery_crontabschedule" VALUES(1,'30','8','mon-fri','*','*','Europe/Berlin');

CREATE TABLE celery_intervalschedule (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  every INTEGER NOT NULL,
  period VARCHAR(12) NOT NULL,
  CHECK (every >= 1)
);
INSERT INTO "celery_intervalschedule" VALUES(1,15,'minutes');

CREATE TABLE celery_periodictask (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  name VARCHAR(255) NOT NULL,
  task VARCHAR(255) NOT NULL,
  args TEXT NOT NULL,
  kwargs TEXT NOT NULL,
  queue VARCHAR(255),
  exchange VARCHAR(255),
  routing_key VARCHAR(255),
  headers TEXT,
  priority INTEGER,
  expires DATETIME,
  expire_seconds INTEGER,
  one_off BOOLEAN NOT NULL,
  start_time DATETIME,
  enabled BOOLEAN NOT NULL,
  last_run_at DATETIME,
  total_run_count INTEGER NOT NULL,
  date_changed DATETIME,
  description TEXT,
  discriminator VARCHAR(20) NOT NULL,
  schedule_id INTEGER NOT NULL,
  CHECK (priority BETWEEN 0 AND 255),
  UNIQUE (name)
);
INSERT INTO "celery_periodictask" VALUES(1,'Daily report','shop.report','["eu"]','{"copies": 2}','reports',NULL,NULL,'{"tenant": "eu"}',7,NULL,600,0,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','For the board','crontabschedule',1);
INSERT INTO "celery_periodictask" VALUES(2,'every quarter','shop.report','[]','{}',NULL,NULL,NULL,'{}',NULL,'2099-01-01 00:00:00.000000',NULL,0,'2098-01-01 00:00:00.000000',1,NULL,0,'2026-11-20 14:18:39.014442','','intervalschedule',1);
INSERT INTO "celery_periodictask" VALUES(3,'sunset','shop.report','[]','{}',NULL,NULL,NULL,'{}',NULL,NULL,NULL,0,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','','solarschedule',1);
INSERT INTO "celery_periodictask" VALUES(4,'launch','shop.report','[]','{}',NULL,NULL,NULL,'{}',NULL,NULL,NULL,1,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','','clockedschedule',1);
INSERT INTO "celery_periodictask" VALUES(5,'switched off','shop.report','[]','{}',NULL,NULL,NULL,'{}',NULL,NULL,NULL,0,NULL,0,NULL,0,'2026-11-20 14:18:39.014442','','intervalschedule',1);
INSERT INTO "celery_periodictask" VALUES(6,'once','shop.report','[]','{}',NULL,NULL,NULL,'{}',NULL,NULL,NULL,1,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','','intervalschedule',1);
INSERT INTO "celery_periodictask" VALUES(7,'unknown task','shop.gone','[]','{}',NULL,NULL,NULL,'{}',NULL,NULL,NULL,0,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','','intervalschedule',1);
INSERT INTO "celery_periodictask" VALUES(8,'no schedule','shop.report','[]','{}',NULL,NULL,NULL,'{}',NULL,NULL,NULL,0,NULL,1,NULL,0,'2026-11-20 14:18:39.014442','','intervalschedule',99);

CREATE TABLE celery_solarschedule (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  event VARCHAR(17) NOT NULL,
  latitude NUMERIC(9, 6) NOT NULL,
  longitude NUMERIC(9, 6) NOT NULL,
  UNIQUE (event, latitude, longitude),
  CHECK (latitude BETWEEN -90 AND 90),
  CHECK (longitude BETWEEN -180 AND 180)
);
INSERT INTO "celery_solarschedule" VALUES(1,'sunset',52.520008,13.404954);
