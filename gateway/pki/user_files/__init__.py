"""Lists of users as Excel, Outlook, Active Directory and Google write them: from bytes to records with their lines."""
